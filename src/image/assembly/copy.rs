//! `COPY` and `WORKDIR`: which entries a layer gets, exactly as BuildKit would change the file tree.
//!
//! Source: `solver/llbsolver/file` of <https://github.com/moby/buildkit> and `copy` of <https://github.com/tonistiigi/fsutil>.
//! What is not obvious there is said at the line. Times are not kept: an image is the same whenever it is made.

use super::mode::Mode;
use super::source::{Content, Files, Item, Kind};
use super::tree::{Base, Known, Node, Owner, Unknown, Whole, clean, follow, join};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// What a layer has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A folder.
    Folder,
    /// A symbolic link and where it leads.
    Link(String),
    /// A file.
    File {
        /// Its content.
        content: Content,
        /// Its length in bytes.
        size: u64,
        /// Files of one layer with the same number are one file with several names.
        same: Option<usize>,
    },
}

/// An entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) body: Body,
    /// Its permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    /// Whose it is.
    pub(crate) owner: Owner,
}

/// The entries of a layer by their paths. A slash sorts before every other character, so that a folder is followed by what
/// is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer(BTreeMap<String, Entry>);

impl Layer {
    /// Puts an entry at a path.
    fn put(&mut self, path: &str, entry: Entry) {
        self.0.insert(path.replace('/', "\0"), entry);
    }

    /// The entries in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.replace('\0', "/"), entry))
    }

    /// Whether a path has an entry.
    fn has(&self, path: &str) -> bool {
        self.0.contains_key(&path.replace('/', "\0"))
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long all files are together, in bytes; one with several names counts as often.
    pub(crate) fn length(&self) -> u64 {
        let size = |entry: &Entry| if let Body::File { size, .. } = &entry.body { *size } else { 0 };
        self.0.values().map(size).fold(0, u64::saturating_add)
    }
}

/// A `COPY`, or an `ADD` of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The sources as they are written, variables filled in.
    pub(crate) sources: Vec<String>,
    /// Files that stand in the instruction itself; they come after the sources.
    pub(crate) texts: Vec<Text>,
    /// The destination, absolute; a slash at its end makes it a folder.
    pub(crate) dest: String,
    /// Whose everything becomes; root's without it.
    pub(crate) owner: Option<Account>,
    /// What becomes of modes; they stay without it.
    pub(crate) mode: Option<Mode>,
    /// `--link`: the layer does not look at what is below it.
    pub(crate) link: bool,
}

/// A file that stands in the instruction itself: a here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its name, where the destination is a folder.
    pub(crate) name: String,
    /// Its content.
    pub(crate) content: Bytes,
}

/// Whose something becomes, as it was written: `user`, `user:group`, names or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user.
    pub(crate) user: String,
    /// The group; the user's without it.
    pub(crate) group: Option<String>,
}

/// What changes a file tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Copies files; a layer of its own.
    Copy(Copy),
    /// Makes a folder and those above it.
    Folder {
        /// The path, absolute.
        path: String,
        /// Whose those are that have to be made.
        owner: Option<Account>,
    },
}

/// Why an action cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The base has to be read first.
    Unknown,
    /// A source is not there.
    Missing {
        /// The source as it is written.
        source: String,
    },
    /// Something stands in the way; no builder could do it either.
    Blocked {
        /// What.
        problem: String,
    },
}

impl From<Unknown> for Trouble {
    fn from(_: Unknown) -> Self {
        Self::Unknown
    }
}

/// The mode of folders that nobody said anything about.
const FOLDER_MODE: u32 = 0o755;

/// The bit of a folder that hands its group and itself on to what is made in it.
const SET_GROUP_ID: u32 = 0o2000;

/// The mode of files that stand in the instruction.
const TEXT_MODE: u32 = 0o644;

/// A file tree that is being changed.
pub(crate) struct Site<'a> {
    /// What it began as.
    base: &'a Base<'a>,
    /// What was changed since.
    own: BTreeMap<String, Node>,
    /// The sources.
    files: &'a Files,
    /// The layer that is being made.
    layer: Layer,
    /// How many files with several names there were.
    shared: usize,
}

impl<'a> Site<'a> {
    /// A tree that begins as a base.
    pub(crate) fn new(base: &'a Base<'a>, files: &'a Files) -> Self {
        Self { base, own: BTreeMap::new(), files, layer: Layer::default(), shared: 0 }
    }

    /// Does an action.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Trouble> {
        match action {
            Action::Copy(copy) => self.copy(copy),
            Action::Folder { path, owner } => {
                let owner = owner.as_ref().map(|account| self.owner(account)).transpose()?;
                let path = self.follow(path)?;
                self.make_folders(&path, FOLDER_MODE, owner)
            }
        }
    }

    /// The layer so far, complete with the folders above its entries; the next begins empty.
    pub(crate) fn take_layer(&mut self) -> Result<Layer, Trouble> {
        let mut layer = std::mem::take(&mut self.layer);
        let paths: Vec<String> = layer.entries().map(|(path, _)| path).collect();
        for path in paths {
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            for folder in above.filter(|folder| !layer.has(folder)).map(str::to_owned).collect::<Vec<_>>() {
                if let Some(Node::Folder(mode, user, group)) = self.look(&folder)? {
                    layer.put(&folder, Entry { body: Body::Folder, mode, owner: Owner { user, group } });
                }
            }
        }
        Ok(layer)
    }

    /// What stands at a path.
    fn look(&self, path: &str) -> Result<Option<Node>, Trouble> {
        if path.is_empty() {
            return Ok(Some(Node::Folder(FOLDER_MODE, 0, 0)));
        }
        match self.own.get(path) {
            Some(node) => Ok(Some(node.clone())),
            None => Ok(self.base.look(path)?),
        }
    }

    /// A path with its links followed, the last one too.
    fn follow(&self, path: &str) -> Result<String, Trouble> {
        let link = |path: &str| {
            Ok::<_, Trouble>(match self.look(path)? {
                Some(Node::Link(target)) => Some(target),
                _ => None,
            })
        };
        follow(path, link)?.ok_or_else(|| blocked(format!("the links of `{path}` lead in a circle")))
    }

    /// Puts an entry into the layer and into the tree.
    fn put(&mut self, path: &str, entry: Entry) {
        let node = match &entry.body {
            Body::Folder => Node::Folder(entry.mode, entry.owner.user, entry.owner.group),
            Body::Link(target) => Node::Link(target.clone()),
            Body::File { .. } => Node::File,
        };
        self.own.insert(path.to_owned(), node);
        self.layer.put(path, entry);
    }

    /// Makes a folder, and those above it, where they are not there. They belong to `owner`, or to root; in a folder that hands
    /// its group on they do so too, and belong to that group unless somebody is named.
    fn make_folders(&mut self, path: &str, mode: u32, owner: Option<Owner>) -> Result<(), Trouble> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for folder in ends.map(|end| &path[..end]).filter(|folder| !folder.is_empty()) {
            match self.look(folder)? {
                Some(Node::Folder(..)) => {}
                Some(_) => return Err(blocked(format!("`/{folder}` is not a folder"))),
                None => {
                    let (handed_on, group) = match self.look(parent(folder))? {
                        Some(Node::Folder(above, _, group)) if above & SET_GROUP_ID != 0 => (SET_GROUP_ID, group),
                        _ => (0, 0),
                    };
                    let owner = owner.unwrap_or(Owner { user: 0, group });
                    self.put(folder, Entry { body: Body::Folder, mode: mode | handed_on, owner });
                }
            }
        }
        Ok(())
    }

    /// Copies every source.
    fn copy(&mut self, copy: &Copy) -> Result<(), Trouble> {
        if copy.link {
            return self.copy_linked(copy);
        }
        let owner = copy.owner.as_ref().map(|account| self.owner(account)).transpose()?;
        for source in &copy.sources {
            let missing = || Trouble::Missing { source: source.clone() };
            let found = self.files.find(&clean(source)).ok_or_else(missing)?;
            for path in found {
                let from = self.files.follow(&path).ok_or_else(missing)?;
                let item = self.files.get(&from).ok_or_else(missing)?;
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                self.copy_one(&from, &name, &item, copy, owner)?;
            }
        }
        for text in &copy.texts {
            let (content, size) = (Content::Text(text.content.clone()), text.content.len() as u64);
            let item = Item { kind: Kind::File { content, size, identity: None }, mode: TEXT_MODE };
            self.copy_one(&text.name, &text.name, &item, copy, owner)?;
        }
        Ok(())
    }

    /// Copies beside the tree, as if nothing were there, and lays the result on top of it.
    fn copy_linked(&mut self, copy: &Copy) -> Result<(), Trouble> {
        let nothing = Known::All(Whole::default());
        let base = Base::new(&nothing);
        let mut beside = Site { shared: self.shared, ..Site::new(&base, self.files) };
        beside.copy(&Copy { link: false, ..copy.clone() })?;
        let layer = beside.take_layer()?;
        self.shared = beside.shared;
        for (path, entry) in layer.entries() {
            self.put(&path, entry.clone());
        }
        Ok(())
    }

    /// Copies one source to the destination, or into it.
    fn copy_one(
        &mut self,
        from: &str,
        name: &str,
        item: &Item,
        copy: &Copy,
        owner: Option<Owner>,
    ) -> Result<(), Trouble> {
        let folder_mode = copy.mode.as_ref().and_then(Mode::of_parents).unwrap_or(FOLDER_MODE);
        let is_folder = copy.dest.ends_with('/') || copy.dest.ends_with("/.");
        let above =
            if is_folder { copy.dest.as_str() } else { copy.dest.rsplit_once('/').map_or("", |(above, _)| above) };
        let above = self.follow(above)?;
        self.make_folders(&above, folder_mode, owner)?;
        let mut target = self.follow(&copy.dest)?;
        let there = self.look(&target)?;
        let from_folder = item.kind == Kind::Folder;
        if !from_folder && matches!(there, Some(Node::Folder(..))) {
            target = join(&target, name);
        }
        // The contents of a folder are copied, not the folder: a new destination has the mode of any new folder.
        let made = if from_folder && there.is_none() { target.as_str() } else { parent(&target) }.to_owned();
        self.make_folders(&made, folder_mode, owner)?;
        let mut job = Job { mode: copy.mode.as_ref(), owner: owner.unwrap_or_default(), names: HashMap::new() };
        self.copy_item(from, &target, item, &mut job)
    }

    /// Copies an item to a path, with all that is in it. A folder that is there keeps its own mode and owner at the top only.
    /// Folders may be as deep as paths are long, so that what is still to be copied is in a list.
    fn copy_item(&mut self, from: &str, target: &str, item: &Item, job: &mut Job<'_>) -> Result<(), Trouble> {
        let files = self.files;
        let mut open = vec![(from.to_owned(), target.to_owned(), item.clone(), false)];
        while let Some((from, target, item, overwrite)) = open.pop() {
            self.copy_alone(&from, &target, &item, overwrite, job)?;
            let start = open.len();
            open.extend(files.names(&from).filter(|_| item.kind == Kind::Folder).filter_map(|name| {
                let path = join(&from, name);
                let item = files.get(&path)?;
                Some((path, join(&target, name), item, true))
            }));
            open[start..].reverse(); // in the order of their names
        }
        Ok(())
    }

    /// Copies an item to a path, without what is in it.
    fn copy_alone(
        &mut self,
        from: &str,
        target: &str,
        item: &Item,
        overwrite: bool,
        job: &mut Job<'_>,
    ) -> Result<(), Trouble> {
        let there = self.look(target)?;
        let mode = job.mode.map_or(item.mode, |mode| mode.apply(item.mode, item.kind == Kind::Folder));
        match (&item.kind, &there) {
            (Kind::Folder, None | Some(Node::Folder(..))) => {
                if there.is_none() || overwrite {
                    self.put(target, Entry { body: Body::Folder, mode, owner: job.owner });
                }
                Ok(())
            }
            (Kind::Folder, Some(_)) => {
                Err(blocked(format!("the folder `{from}` cannot be copied to `/{target}`, which is not a folder")))
            }
            (_, Some(Node::Folder(..))) => {
                Err(blocked(format!("`{from}` cannot take the place of the folder `/{target}`")))
            }
            (Kind::Link(to), _) => {
                self.put(target, Entry { body: Body::Link(to.clone()), mode: 0o777, owner: job.owner });
                Ok(())
            }
            (Kind::File { content, size, identity }, _) => {
                let same = identity.map(|identity| {
                    *job.names.entry(identity).or_insert_with(|| {
                        self.shared += 1;
                        self.shared
                    })
                });
                let body = Body::File { content: content.clone(), size: *size, same };
                self.put(target, Entry { body, mode, owner: job.owner });
                Ok(())
            }
        }
    }

    /// The numbers of an account. A number without a group is its own group; a name has its group in `/etc/passwd`.
    fn owner(&self, account: &Account) -> Result<Owner, Trouble> {
        let nobody = |what: &str, name: &str| blocked(format!("the base has no {what} `{name}`"));
        let (user, own_group) = if let Some(number) = number(&account.user) {
            (number, number)
        } else {
            let line = self.account("passwd", &account.user)?;
            let fields = line.as_deref().and_then(|line| {
                let mut fields = line.split(':').skip(2);
                Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
            });
            fields.ok_or_else(|| nobody("user", &account.user))?
        };
        let group = match account.group.as_deref().map(|group| (group, number(group))) {
            None => own_group,
            Some((_, Some(number))) => number,
            Some((name, None)) => {
                let line = self.account("group", name)?;
                let number = line.as_deref().and_then(|line| line.split(':').nth(2)?.parse().ok());
                number.ok_or_else(|| nobody("group", name))?
            }
        };
        Ok(Owner { user, group })
    }

    /// The line of an account in the base. A file of accounts that was copied before is one that is not read here.
    fn account(&self, file: &'static str, name: &str) -> Result<Option<String>, Trouble> {
        let is_folder = |path: &str| self.own.get(path).is_none_or(|node| matches!(node, Node::Folder(..)));
        if self.own.contains_key(&format!("etc/{file}")) || !is_folder("etc") {
            return Err(blocked(format!("`{name}` is looked up in `/etc/{file}`, which was copied before")));
        }
        Ok(self.base.account(file, name)?)
    }
}

/// The number of an account, if it is one.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse::<u32>().ok().map(u64::from) } else { None }
}

/// What is the same for everything that one source brings.
struct Job<'a> {
    /// What becomes of modes.
    mode: Option<&'a Mode>,
    /// Whose everything becomes.
    owner: Owner,
    /// The numbers of files with several names.
    names: HashMap<(u64, u64), usize>,
}

/// Something that stands in the way.
fn blocked(problem: String) -> Trouble {
    Trouble::Blocked { problem }
}

/// The folder of a path.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests;
