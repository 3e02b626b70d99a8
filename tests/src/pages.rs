//! Pages of the documentation: their fenced blocks, and where their links lead.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders without pages of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its path from the repository's root.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A fenced block of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of the page that opens it, from 1.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// The words behind it.
    pub words: Vec<String>,
    /// The text between the fences.
    pub text: String,
}

/// Every page of the repository, by name.
pub fn all(repository: &Path) -> Vec<Page> {
    let mut pages = Vec::new();
    gather(repository, repository, &mut pages);
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    pages
}

fn gather(repository: &Path, folder: &Path, pages: &mut Vec<Page>) {
    let entries = fs::read_dir(folder).expect("a folder of the repository can be read");
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !SKIPPED.contains(&&*name) {
            gather(repository, &path, pages);
        } else if path.extension().is_some_and(|end| end == "md") {
            let name = path.strip_prefix(repository).expect("it lies in it");
            pages.push(Page {
                name: name.to_string_lossy().into_owned(),
                text: fs::read_to_string(&path).expect("a page is UTF-8"),
            });
        }
    }
}

impl Page {
    /// Its fenced blocks.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (None, Some(info)) => {
                    let mut words = info.split([' ', ',']).map(str::to_owned);
                    open = Some(Block {
                        line: number + 1,
                        language: words.next().unwrap_or_default(),
                        words: words.filter(|word| !word.is_empty()).collect(),
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is never closed", self.name);
        blocks
    }

    /// Its text without fenced blocks, comments and code in a line.
    fn prose(&self) -> String {
        let mut prose = String::new();
        let mut is_fenced = false;
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_fenced = !is_fenced;
            } else if !is_fenced {
                let parts = line.split('`').step_by(2);
                prose.push_str(&parts.collect::<Vec<_>>().join("`"));
                prose.push('\n');
            }
        }
        prose
    }

    /// Where its links lead, those to other machines left out.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1);
        targets
            .filter_map(|rest| Some(rest.split_once(')')?.0.trim().to_owned()))
            .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
            // An item of the code, for rustdoc, which looks after it.
            .filter(|target| !target.contains("::"))
            .collect()
    }

    /// Names by which its headings are reached, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        let mut is_fenced = false;
        for line in self.text.lines() {
            is_fenced ^= line.trim_start().starts_with("```");
            let Some(heading) = line.strip_prefix('#').filter(|_| !is_fenced) else {
                continue;
            };
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let signs = heading.chars().filter_map(|sign| match sign {
                ' ' => Some('-'),
                '-' | '_' => Some(sign),
                _ => sign.is_alphanumeric().then_some(sign),
            });
            let anchor: String = signs.collect();
            let earlier = anchors.iter().filter(|one| **one == anchor).count();
            anchors.push(match earlier {
                0 => anchor,
                many => format!("{anchor}-{many}"),
            });
        }
        anchors
    }

    /// Where a link of this page leads: a file of the repository, and a heading in it.
    pub fn target(&self, repository: &Path, link: &str) -> (PathBuf, Option<String>) {
        let (file, anchor) = match link.split_once('#') {
            Some((file, anchor)) => (file, Some(anchor.to_owned())),
            None => (link, None),
        };
        let own = repository.join(&self.name);
        let path = match file {
            "" => own,
            _ => own.parent().unwrap_or(repository).join(file),
        };
        (path, anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page {
            name: "docs/a.md".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn blocks_have_their_words() {
        let page = page(
            "# A\n```sh fresh exit:3\ntidegate run\n```\n- in a list\n  ```text\n  x\n  ```\n",
        );
        let blocks = page.blocks();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].line, 2);
        assert_eq!(blocks[0].words, ["fresh", "exit:3"]);
        assert_eq!(blocks[0].text, "tidegate run\n");
        assert_eq!((&*blocks[1].language, &*blocks[1].text), ("text", "  x\n"));
    }

    #[test]
    fn links_and_headings_are_found() {
        let page = page(
            "# Who sends: `auth`, TLS\n[a](b.md#c) [`d`](../e/) `[x](y)` [z](https://z)\n\
             ```text\n# no heading\n[no](link)\n```\n## A-B_c\n## A-B_c\n",
        );
        assert_eq!(page.links(), ["b.md#c", "../e/"]);
        assert_eq!(page.anchors(), ["who-sends-auth-tls", "a-b_c", "a-b_c-1"]);
        let (path, anchor) = page.target(Path::new("/r"), "b.md#c");
        assert_eq!(path, Path::new("/r/docs/b.md"));
        assert_eq!(anchor.as_deref(), Some("c"));
        assert_eq!(
            page.target(Path::new("/r"), "#x").0,
            Path::new("/r/docs/a.md")
        );
    }
}
