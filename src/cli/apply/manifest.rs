//! The files: YAML, each document a mapping from a kind to a list of entries.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::kind::{KINDS, Kind};
use crate::cli::client::ClientError;
use crate::yaml;

/// The largest file that is read, in bytes.
const FILE_SIZE_MAX: u64 = 16 << 20;

/// How deep folders are looked into.
const FOLDER_DEPTH_MAX: usize = 16;

/// All that the files say.
#[derive(Debug, Default, PartialEq)]
pub struct Manifest {
    /// The lists, by the place of their kind in [`KINDS`]; `None` if no file has one.
    lists: [Option<Vec<Entry>>; KINDS.len()],
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it is called, by the key of its kind.
    pub name: String,
    /// Its fields, with the variables of the environment put in.
    pub fields: Map<String, Value>,
    /// Where it stands.
    pub file: PathBuf,
}

impl Manifest {
    /// Reads files, and folders of files whose names end with `.yaml`, `.yml` or `.json`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Input`] naming the file and what is wrong in it.
    pub fn read(paths: &[PathBuf]) -> Result<Manifest, ClientError> {
        let mut files = Vec::new();
        for path in paths {
            collect(path, true, FOLDER_DEPTH_MAX, &mut files)?;
        }
        if files.is_empty() {
            let folders: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(ClientError::Input(format!("no YAML file in {}", folders.join(", "))));
        }
        let mut manifest = Manifest::default();
        for file in files {
            let text = text_of(&file)?;
            manifest.add(&file, &text).map_err(|what| wrong(&file, &what))?;
        }
        Ok(manifest)
    }

    /// The kinds that some file has a list of, each with its entries, in the order of [`KINDS`].
    pub fn lists(&self) -> impl Iterator<Item = (&'static Kind, &[Entry])> {
        let lists = KINDS.iter().zip(&self.lists);
        lists.filter_map(|(kind, list)| Some((kind, list.as_deref()?)))
    }

    fn add(&mut self, file: &Path, text: &str) -> Result<(), String> {
        for document in yaml::parse_all(text)? {
            match document {
                Value::Null => {}
                Value::Object(lists) => {
                    for (name, list) in lists {
                        self.add_list(file, &name, list)?;
                    }
                }
                _ => return Err("a document is a mapping, as `servers: [...]`".to_owned()),
            }
        }
        Ok(())
    }

    fn add_list(&mut self, file: &Path, name: &str, list: Value) -> Result<(), String> {
        let Some(kind) = Kind::find(name) else {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(format!("{name:?} is no kind of entry; there are {}", known.join(", ")));
        };
        let entries = match list {
            Value::Array(entries) => entries,
            Value::Null => Vec::new(),
            _ => return Err(format!("{name} is a list")),
        };
        let place = KINDS.iter().position(|each| each == kind).expect("it is one of them");
        let list = self.lists[place].get_or_insert_default();
        for (index, entry) in entries.into_iter().enumerate() {
            let entry =
                read_entry(kind, file, entry).map_err(|what| format!("{name}[{index}]: {what}"))?;
            if let Some(twin) = list.iter().find(|twin| twin.name == entry.name) {
                let (word, key, other) = (kind.word, &entry.name, twin.file.display());
                return Err(format!("the {word} {key:?} stands twice; it is in {other} already"));
            }
            list.push(entry);
        }
        Ok(())
    }
}

fn read_entry(kind: &Kind, file: &Path, entry: Value) -> Result<Entry, String> {
    let Value::Object(fields) = entry else {
        return Err(format!("a {} is a mapping of fields", kind.word));
    };
    let mut fields = Value::Object(fields);
    fill_in(&mut fields)?;
    let Value::Object(fields) = fields else { unreachable!("it was one above") };
    let name = fields.get(kind.key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(format!("a {} needs `{}`", kind.word, kind.key));
    }
    Ok(Entry { name, fields, file: file.to_owned() })
}

/// Puts the variables of the environment into every text: `${NAME}`; `$${` stands for `${`.
fn fill_in(value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains("${") => *text = filled(text)?,
        Value::Array(items) => items.iter_mut().try_for_each(fill_in)?,
        Value::Object(fields) => fields.values_mut().try_for_each(fill_in)?,
        _ => {}
    }
    Ok(())
}

fn filled(text: &str) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = after;
            continue;
        }
        result.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("`${` has no `}`; write `$${` for the characters themselves".to_owned());
        };
        let value = std::env::var(name).map_err(|_| {
            format!("the environment has no {name}; write `$${{` for the characters themselves")
        })?;
        result.push_str(&value);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

/// Collects the files of a path in the order of their names. A file that was named is taken
/// whatever it is called.
fn collect(
    path: &Path,
    is_named: bool,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), ClientError> {
    let found = fs::metadata(path).map_err(|error| wrong(path, &error.to_string()))?;
    if found.is_dir() {
        if depth == 0 {
            return Err(wrong(path, "folders lie deeper than is looked"));
        }
        let listed = fs::read_dir(path).map_err(|error| wrong(path, &error.to_string()))?;
        let mut paths: Vec<PathBuf> = listed
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(path, &error.to_string()))?;
        paths.sort();
        // What begins with a dot is not for us: a ConfigMap's own folders, an editor's files.
        paths.retain(|path| !is_hidden(path));
        return paths.iter().try_for_each(|path| collect(path, false, depth - 1, files));
    }
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    if is_named || matches!(suffix, Some("yaml" | "yml" | "json")) {
        files.push(path.to_owned());
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn text_of(file: &Path) -> Result<String, ClientError> {
    let size = fs::metadata(file).map_err(|error| wrong(file, &error.to_string()))?.len();
    if size > FILE_SIZE_MAX {
        return Err(wrong(file, &format!("it is larger than {FILE_SIZE_MAX} bytes; divide it")));
    }
    fs::read_to_string(file).map_err(|error| wrong(file, &error.to_string()))
}

fn wrong(path: &Path, what: &str) -> ClientError {
    ClientError::Input(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, String> {
        let mut manifest = Manifest::default();
        manifest.add(Path::new("a.yaml"), text).map(|()| manifest)
    }

    fn names(manifest: &Manifest) -> Vec<(&str, Vec<&str>)> {
        let lists = manifest.lists();
        lists
            .map(|(kind, list)| (kind.name, list.iter().map(|entry| &*entry.name).collect()))
            .collect()
    }

    #[test]
    fn documents_add_to_the_lists_in_the_order_of_kinds() {
        let text = "servers:\n- {name: s}\n---\n# nothing\n---\ngateways:\n- {name: g, url: u}\n\
                    servers: [{name: t}]\nprompts:\n";
        let expected = [("gateways", vec!["g"]), ("prompts", vec![]), ("servers", vec!["s", "t"])];
        assert_eq!(names(&read(text).unwrap()), expected);
        assert_eq!(names(&read("agents: [{name: a}]").unwrap()), [("a2a_agents", vec!["a"])]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            ("server: []", "\"server\" is no kind of entry"),
            ("servers: {name: s}", "servers is a list"),
            ("servers: [s]", "servers[0]: a server is a mapping"),
            ("servers: [{name: a}, {description: d}]", "servers[1]: a server needs `name`"),
            ("resources: [{name: a}]", "resources[0]: a resource needs `uri`"),
            ("tools: [{name: a}, {name: a}]", "\"a\" stands twice"),
            ("- a", "a document is a mapping"),
            ("a: [", ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn variables_of_the_environment_are_put_in_and_missing_ones_named() {
        assert_eq!(filled("a ${PATH} b"), Ok(format!("a {} b", std::env::var("PATH").unwrap())));
        assert_eq!(filled("$${PATH} $5 {{x}}").as_deref(), Ok("${PATH} $5 {{x}}"));
        assert!(filled("${NO_SUCH_VARIABLE_HERE}").unwrap_err().contains("NO_SUCH_VARIABLE_HERE"));
        assert!(filled("${PATH").is_err());
    }

    #[test]
    fn a_folder_gives_its_yaml_files_by_name_and_no_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "notes.txt", ".hidden.yaml"] {
            fs::write(folder.path().join(name), format!("tools: [{{name: {name:?}}}]")).unwrap();
        }
        let manifest = Manifest::read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names(&manifest), [("tools", vec!["a.yaml", "b.yml"])]);
        let named = Manifest::read(&[folder.path().join("notes.txt")]).unwrap();
        assert_eq!(names(&named), [("tools", vec!["notes.txt"])]);
        let empty = tempfile::tempdir().unwrap();
        assert!(Manifest::read(&[empty.path().to_owned()]).is_err());
    }
}
