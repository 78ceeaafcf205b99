//! GitHub: the payload of the event, comments on the pull request, workflow commands.
