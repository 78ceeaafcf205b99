//! The last lines of a container's log.

use super::{Cluster, Error};
use crate::model::GroupVersionKind;
use kube::core::subresource::LogParams;

/// More than this of one line helps nobody and fills a terminal.
const LONGEST_LINE: usize = 2000;

impl Cluster {
    /// The last lines that a container wrote; `previous` means the instance before the last restart.
    pub(crate) async fn log_tail(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        lines: u32,
    ) -> Result<Vec<String>, Error> {
        let kind = self.kind(&GroupVersionKind::new("v1", "Pod"))?;
        let params = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(lines.into()),
            ..LogParams::default()
        };
        let doing = format!("read the log of container {container} of Pod {pod}");
        let text = self.send_for_text(&doing, || kind.requests(Some(namespace)).logs(pod, &params)).await?;
        Ok(text.lines().map(|line| line.chars().take(LONGEST_LINE).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::kubernetes::fake::FakeServer;

    #[tokio::test]
    async fn the_log_of_the_instance_before_the_restart() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.forget();
        let lines = cluster.log_tail("todo", "api-1", "api", true, 20).await.unwrap();
        assert_eq!(lines, ["first line", "second line"]);
        assert_eq!(
            server.log(),
            ["GET /api/v1/namespaces/todo/pods/api-1/log?&container=api&previous=true&tailLines=20"]
        );
    }
}
