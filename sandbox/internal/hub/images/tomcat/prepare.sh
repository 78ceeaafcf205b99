# The settings of dpkg keep manuals out, and java registers its own with update-alternatives.
mkdir -p /usr/share/man/man1
