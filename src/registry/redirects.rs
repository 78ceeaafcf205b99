//! Where registries send us: redirects, and the places of uploads.
//!
//! The token never goes along to another host; who asks there sees to that.

use super::error::{Error, UNENCRYPTED};
use super::hosts::is_loopback;
use super::question::Question;
use reqwest::Response;
use reqwest::header::LOCATION;
use std::net::{IpAddr, Ipv4Addr};
use url::{Host, Url};

/// More redirects than this are a loop.
const MOST_REDIRECTS: usize = 5;

/// The way of a request through redirects.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Where it was asked last.
    pub(crate) url: Url,
    /// How often it was sent elsewhere.
    hops: usize,
}

impl Trail {
    /// A request that begins here.
    pub(crate) fn new(url: &Url) -> Self {
        Self { url: url.clone(), hops: 0 }
    }

    /// Whether an answer sends us on: to where it is asked now, then.
    pub(crate) fn goes_on(&mut self, question: Question<'_>, answer: &Response) -> Result<bool, Error> {
        if !answer.status().is_redirection() {
            return Ok(false);
        }
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| self.url.join(location).ok());
        self.url = target.ok_or_else(|| question.nonsense("it redirects to nowhere"))?;
        check_target(question, &self.url)?;
        self.hops += 1;
        if self.hops > MOST_REDIRECTS { Err(question.nonsense("it redirects in a circle")) } else { Ok(true) }
    }
}

/// Refuses a URL of another host that the registry has no business naming.
pub(crate) fn check_target(question: Question<'_>, target: &Url) -> Result<(), Error> {
    let base = &question.endpoint.base;
    if question.endpoint.serves(target) {
        return Ok(());
    }
    if base.scheme() == "https" && target.scheme() != "https" {
        return Err(question.nonsense(UNENCRYPTED));
    }
    if is_private(target) && !is_private(base) {
        return Err(question.nonsense("it leads to an address of a private network"));
    }
    Ok(())
}

/// Whether a host is this machine, or lies in its network.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_private_v4(address),
        Some(Host::Ipv6(address)) => match address.to_canonical() {
            IpAddr::V4(inside) => is_private_v4(inside),
            IpAddr::V6(address) => {
                let is_internal = address.is_unique_local() || address.is_unicast_link_local();
                is_internal || address.is_loopback() || address.is_unspecified()
            }
        },
        Some(Host::Domain(name)) => is_loopback(name),
        None => true,
    }
}

/// The same for an address of IPv4. `0.0.0.0` is this machine too, and 100.64.0.0/10 lies behind a provider's translation of
/// addresses (<https://www.rfc-editor.org/rfc/rfc6598>).
fn is_private_v4(address: Ipv4Addr) -> bool {
    let is_shared = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
    let is_here = address.is_loopback() || address.is_unspecified();
    is_here || is_shared || address.is_private() || address.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Hosts;
    use crate::registry::auth::Scope;
    use crate::registry::hosts::Capability;

    #[test]
    fn nobody_is_sent_into_a_private_network_or_out_of_encryption() {
        let hosts = Hosts::new(None, Vec::new());
        let endpoint = hosts.endpoints("registry.example", Capability::Push).unwrap().remove(0);
        let scope = Scope::push("a");
        let question = Question { endpoint: &endpoint, scope: &scope, action: "take a blob" };
        for (target, allowed) in [
            ("https://registry.example/v2/a/blobs/uploads/1", true),
            ("https://registry.example:443/v2/a/blobs/uploads/1", true),
            ("https://storage.example/a?X-Amz-Signature=b", true),
            ("http://storage.example/a", false),
            ("https://127.0.0.1/a", false),
            ("https://10.0.0.1/a", false),
            ("https://192.168.1.1/a", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://localhost/a", false),
            ("https://[::1]/a", false),
            ("https://[fd00::1]/a", false),
            ("https://[fe80::1]/a", false),
            ("https://[::]/a", false),
            ("https://[::ffff:127.0.0.1]/a", false),
            ("https://[::ffff:10.0.0.1]/a", false),
            ("https://0.0.0.0/a", false),
            ("https://100.64.0.1/a", false),
            ("https://2130706433/a", false),
            ("https://LOCALHOST/a", false),
            ("https://localhost./a", false),
            ("https://registry.localhost/a", false),
            ("https://203.0.113.7/a", true),
        ] {
            let target = Url::parse(target).unwrap();
            assert_eq!(check_target(question, &target).is_ok(), allowed, "{target}");
        }
    }

    #[test]
    fn each_redirect_is_looked_at_before_it_is_followed() {
        let hosts = Hosts::new(None, Vec::new());
        let endpoint = hosts.endpoints("registry.example", Capability::Pull).unwrap().remove(0);
        let scope = Scope::pull("a");
        let question = Question { endpoint: &endpoint, scope: &scope, action: "give a blob" };
        let answer = |location: &str| {
            let answer = http::Response::builder().status(307).header(LOCATION, location);
            Response::from(answer.body("").unwrap())
        };
        let mut trail = Trail::new(&endpoint.url("a", "blobs/x"));
        assert!(trail.goes_on(question, &answer("https://storage.example/x?X-Amz-Signature=b")).unwrap());
        assert!(trail.goes_on(question, &answer("/y")).unwrap());
        assert_eq!(trail.url.as_str(), "https://storage.example/y");
        assert!(!trail.goes_on(question, &http::Response::new("").into()).unwrap());
        assert!(trail.goes_on(question, &answer("https://10.0.0.1/x")).is_err());
        assert!(Trail::new(&trail.url).goes_on(question, &answer("http://storage.example/x")).is_err());
        let mut trail = Trail::new(&endpoint.base);
        let hops = (0..10).take_while(|_| trail.goes_on(question, &answer("https://storage.example/x")).is_ok());
        assert_eq!(hops.count(), MOST_REDIRECTS);
    }
}
