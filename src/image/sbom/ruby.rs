//! Gems that are installed: the specification of each in a folder `specifications`, those that come with Ruby in `default`
//! below it, and those that Bundler has from git in their own folders. They are Ruby programs, but `RubyGems` and Bundler write
//! all of them in one form, and what is needed first into a comment
//! (<https://github.com/rubygems/rubygems/blob/master/lib/rubygems/specification.rb>, `to_ruby`;
//! <https://github.com/rubygems/rubygems/blob/master/bundler/lib/bundler/source/git.rb>, `serialize_gemspecs_in`).

use super::{Ecosystem, Package};

/// What begins the comment: `# stub: NAME VERSION PLATFORM FOLDERS`.
const STUB: &str = "# stub: ";

/// Bundler looks so deep into a repository for specifications, its own folder included.
const DEEPEST_IN_GIT: usize = 3;

/// The platform of what runs on any.
const ANY_PLATFORM: &str = "ruby";

/// Whether a path is the specification of an installed gem.
pub(super) fn is_specification(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let installed = folder.strip_suffix("/default").unwrap_or(folder);
    let checked_out = folder.rsplit_once("/bundler/gems/").map(|(_, inner)| inner.split('/').count());
    file.ends_with(".gemspec")
        && (installed == "specifications"
            || installed.ends_with("/specifications")
            || checked_out.is_some_and(|depth| depth <= DEEPEST_IN_GIT))
}

/// The gem; `None` where the specification is not in the form in which gems are installed.
pub(super) fn package(text: &str, place: &str) -> Option<Package> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.trim_start().strip_prefix("s.")?.strip_prefix(name));
        values.find_map(|rest| rest.trim_start().strip_prefix('=')).map(literals).unwrap_or_default()
    };
    let first = |name: &str| field(name).into_iter().next();
    let mut stub = text.lines().find_map(|line| line.strip_prefix(STUB)).unwrap_or_default().split_ascii_whitespace();
    let (name, version, platform) = match (stub.next(), stub.next(), stub.next()) {
        (Some(name), Some(version), platform) => (name.to_owned(), version.to_owned(), platform.map(str::to_owned)),
        _ => (first("name")?, first("version")?, first("platform")),
    };
    Some(Package {
        architecture: platform.filter(|platform| platform != ANY_PLATFORM),
        licence: Some(field("licenses").join(", ")).filter(|text| !text.is_empty()),
        supplier: first("authors"),
        homepage: first("homepage"),
        ..Package::new(Ecosystem::Gem, name, version, place)
    })
}

/// The string literals of a line, in either form in which they are written: `"a \"b\"".freeze` and `%q<a>`.
fn literals(line: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), line);
    while let Some(at) = rest.find(['"', '%']) {
        let (before, from) = rest.split_at(at);
        let literal = match from.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => from.strip_prefix("%q").and_then(bracketed),
        };
        let Some((text, behind)) = literal else {
            rest = &rest[before.len() + 1..];
            continue;
        };
        found.push(text);
        rest = behind;
    }
    found
}

/// A text in brackets of any kind, and what is behind it.
fn bracketed(text: &str) -> Option<(String, &str)> {
    let pair =
        [('<', '>'), ('{', '}'), ('(', ')'), ('[', ']')].into_iter().find(|(open, _)| text.starts_with(*open))?;
    let (inner, behind) = text[1..].split_once(pair.1)?;
    Some((inner.to_owned(), behind))
}

/// A text up to its closing quote, and what is behind that; `None` where it is not closed.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let (mut text, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' | 't' | 'r' => text.push(' '),
                'u' => text.push(code_point(&mut letters)?),
                other => text.push(other),
            },
            letter => text.push(letter),
        }
    }
    None
}

/// The letter of `92F8` or `{1F600}`, which stands behind `\u`.
fn code_point(letters: &mut std::str::CharIndices<'_>) -> Option<char> {
    let first = letters.next()?.1;
    let digits: String = if first == '{' {
        letters.map(|(_, letter)| letter).take_while(|letter| *letter != '}').collect()
    } else {
        std::iter::once(first).chain(letters.take(3).map(|(_, letter)| letter)).collect()
    };
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `gem install` of `RubyGems` 3.3 has written, shortened.
    const NOKOGIRI: &str = r#"# -*- encoding: utf-8 -*-
# stub: nokogiri 1.13.10 x86_64-linux lib
# stub: ext/nokogiri/extconf.rb

Gem::Specification.new do |s|
  s.name = "nokogiri".freeze
  s.version = "1.13.10"
  s.platform = "x86_64-linux".freeze

  s.required_rubygems_version = Gem::Requirement.new(">= 0".freeze) if s.respond_to? :required_rubygems_version=
  s.metadata = { "homepage_uri" => "https://nokogiri.org" } if s.respond_to? :metadata=
  s.authors = ["Akinori \u92F8\u{1F600} \"M\"".freeze, "Mike Dalessio".freeze]
  s.description = "Nokogiri (\u92F8) makes it easy\ns.name = \"no\"".freeze
  s.homepage = "https://nokogiri.org".freeze
  s.licenses = ["MIT".freeze, "Ruby".freeze]
  s.add_runtime_dependency(%q<racc>.freeze, ["~> 1.4"])
end
"#;

    #[test]
    fn an_installed_gem_is_read() {
        let package = package(NOKOGIRI, "x").unwrap();
        let wanted = Package {
            architecture: Some("x86_64-linux".to_owned()),
            licence: Some("MIT, Ruby".to_owned()),
            supplier: Some("Akinori \u{92f8}\u{1f600} \"M\"".to_owned()),
            homepage: Some("https://nokogiri.org".to_owned()),
            ..Package::new(Ecosystem::Gem, "nokogiri", "1.13.10", "x")
        };
        assert_eq!(package, wanted);
    }

    #[test]
    fn older_forms_have_no_comment_and_other_quotes() {
        let old = "Gem::Specification.new do |s|\n  s.name = %q{rack}\n  s.version = \"1.2.1\"\n  s.homepage = %q<http://x.example/>\nend\n";
        let read = package(old, "x").unwrap();
        assert_eq!((read.name.as_str(), read.version.as_str(), &read.architecture), ("rack", "1.2.1", &None));
        assert_eq!(read.homepage.as_deref(), Some("http://x.example/"));
        let any = package("# stub: rake 13.0.6 ruby lib\n", "x").unwrap();
        assert_eq!((any.architecture, any.licence), (None, None), "it runs on any platform");
        for other in
            ["", "Gem::Specification.new do |s|\n  s.name = \"a\"\n  s.version = A::VERSION\nend\n", "# stub: a\n"]
        {
            assert_eq!(package(other, "x"), None, "{other}");
        }
    }

    #[test]
    fn only_installed_gems_have_their_specification_there() {
        for (path, wanted) in [
            ("usr/share/rubygems-integration/all/specifications/rack-2.2.22.gemspec", true),
            ("usr/local/lib/ruby/gems/3.3.0/specifications/default/json-2.7.1.gemspec", true),
            ("app/vendor/bundle/ruby/3.3.0/specifications/rack-3.0.0.gemspec", true),
            ("usr/local/bundle/gems/rack-3.0.0/rack.gemspec", false),
            ("usr/local/bundle/bundler/gems/rails-0a1b2c/rails.gemspec", true),
            ("usr/local/bundle/bundler/gems/rails-0a1b2c/actionpack/actionpack.gemspec", true),
            ("usr/local/bundle/bundler/gems/rails-0a1b2c/a/b/c/d.gemspec", false),
            ("app/specifications/other/x.gemspec", false),
            ("x.gemspec", false),
        ] {
            assert_eq!(is_specification(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(s\\.|name|version| = |\"|\\\\|u|\\{|\\}|%q|<|>|a|\u{e9}|\n|# stub: ){0,40}", any: String) {
            let _ = (package(&text, "x"), package(&any, "x"), literals(&text));
        }
    }
}
