//! Values that must not be seen: never in `Debug`, never serialized, never in a log.

use base64::Engine as _;
use std::sync::{Arc, RwLock};
use zeroize::Zeroize as _;

/// A secret text. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Hands the text out: call it only where the value leaves for its one destination.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Replaces every known secret in a text by `***`: raw, in base64 and URL-encoded.
///
/// One redactor serves a run; whoever learns a secret registers it before first use.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<RwLock<Vec<Secret>>>);

/// Shorter values would blank out ordinary words, and protect nothing.
const SHORTEST_SECRET: usize = 4;

impl Redactor {
    /// Registers a secret in the forms in which it could appear.
    pub(crate) fn register(&self, secret: &str) {
        let mut forms = vec![secret.to_owned()];
        forms.extend(secret.lines().map(str::to_owned));
        let encoded: Vec<String> = forms
            .iter()
            .flat_map(|form| {
                let url: String = url::form_urlencoded::byte_serialize(form.as_bytes()).collect();
                let base64 = base64::engine::general_purpose::STANDARD.encode(form);
                let base64_url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(form);
                [url.replace('+', "%20"), url, base64.trim_end_matches('=').to_owned(), base64_url]
            })
            .collect();
        forms.extend(encoded);
        let Ok(mut known) = self.0.write() else { return };
        for form in forms.into_iter().filter(|form| form.len() >= SHORTEST_SECRET) {
            let form = Secret::new(form);
            if !known.contains(&form) {
                known.push(form);
            }
        }
        known.sort_by_key(|form| std::cmp::Reverse(form.0.len())); // longest first: a prefix must not eat its whole
    }

    /// The text without secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Ok(known) = self.0.read() else { return "***".to_owned() };
        known.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "***"))
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_blanked() {
        let redactor = Redactor::default();
        redactor.register("p@ss word/1");
        for form in ["p@ss word/1", "p%40ss+word%2F1", "p%40ss%20word%2F1", "cEBzcyB3b3JkLzE=", "cEBzcyB3b3JkLzE"] {
            assert!(!redactor.redact(&format!("x {form} y")).contains(form), "{form}");
        }
    }

    #[test]
    fn short_words_stay() {
        let redactor = Redactor::default();
        redactor.register("on");
        assert_eq!(redactor.redact("one on one"), "one on one");
    }
}
