//! [`Element`]: the tree of a small XML file, as much of XML as annotation files have: elements, text, CDATA, character references. Comments,
//! processing instructions, the document type and attributes are passed over; entities of one's own are refused.

/// Largest file, in bytes.
const LARGEST: usize = 1 << 24;
/// Deepest element.
const DEEPEST: usize = 64;

/// An element.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element {
    pub name: String,
    /// Where it begins, counted from 1.
    pub line: usize,
    /// Before the first element in it, without space around.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The root element of a file.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST {
            return Err(format!("larger than {} MiB", LARGEST >> 20));
        }
        let text = smalti_config::text_file::xml(bytes)?;
        let mut reader = Reader {
            text: &text,
            at: 0,
            line: 1,
            counted: 0,
        };
        reader
            .root()
            .map_err(|what| format!("{what} in line {}", reader.line()))
    }

    /// The first element of that name directly in it.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// All elements of that name directly in it.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }

    /// The text of the element of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.find(name).map(|e| e.text.as_str())
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// That of the byte before which lines were counted.
    line: usize,
    counted: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The line in which it is.
    fn line(&mut self) -> usize {
        let passed = &self.text.as_bytes()[self.counted..self.at.min(self.text.len())];
        self.line += passed.iter().filter(|b| **b == b'\n').count();
        self.counted += passed.len();
        self.line
    }

    fn root(&mut self) -> Result<Element, String> {
        // Open elements, outermost first.
        let mut open: Vec<Element> = Vec::new();
        loop {
            let text = self.until("<")?;
            if let Some(element) = open.last_mut().filter(|e| e.children.is_empty()) {
                element.text.push_str(&unescaped(text)?);
            } else if open.is_empty() && !text.trim().is_empty() {
                return Err("text outside of any element".into());
            }
            let rest = self.rest();
            if rest.starts_with("!--") {
                self.until("-->")?;
            } else if rest.starts_with("![CDATA[") {
                let data = &self.until("]]>")?["![CDATA[".len()..];
                if let Some(element) = open.last_mut().filter(|e| e.children.is_empty()) {
                    element.text.push_str(data);
                }
            } else if rest.starts_with('?') {
                self.until("?>")?;
            } else if rest.starts_with('!') {
                if self.until(">")?.contains('[') {
                    return Err("a document type with declarations, which is not read".into());
                }
            } else if rest.starts_with('/') {
                let name = self.until(">")?[1..].trim();
                let Some(mut element) = open.pop().filter(|e| e.name == name) else {
                    return Err(format!("`</{name:.40}>` closes nothing"));
                };
                element.text = element.text.trim().to_owned();
                match open.last_mut() {
                    Some(outer) => outer.children.push(element),
                    None => return Ok(element),
                }
            } else {
                let line = self.line();
                let tag = self.tag()?;
                let name = tag.split([' ', '\t', '\r', '\n', '/']).next().unwrap_or("");
                let element = Element {
                    name: name.to_owned(),
                    line,
                    ..Element::default()
                };
                let closed = tag.ends_with('/');
                let deep = open.len() >= DEEPEST;
                match open.last_mut() {
                    _ if name.is_empty() => return Err("an element without a name".into()),
                    Some(outer) if closed => outer.children.push(element),
                    None if closed => return Ok(element),
                    _ if deep => return Err("nested too deep".into()),
                    _ => open.push(element),
                }
            }
        }
    }

    /// The text before `end`, and past it.
    fn until(&mut self, end: &str) -> Result<&'a str, String> {
        let rest = self.rest();
        match rest.find(end) {
            Some(length) => {
                self.at += length + end.len();
                Ok(&rest[..length])
            }
            None => {
                self.at = self.text.len();
                Err(format!("the file ends where `{end}` was expected"))
            }
        }
    }

    /// A tag without its brackets; a `>` in a quoted value is no end.
    fn tag(&mut self) -> Result<&'a str, String> {
        let (start, mut quote) = (self.at, None);
        for (i, c) in self.rest().char_indices() {
            match (c, quote) {
                ('>', None) => {
                    self.at += i + 1;
                    return Ok(&self.text[start..start + i]);
                }
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(q)) if c == q => quote = None,
                _ => {}
            }
        }
        self.until(">")
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (name, rest) = part.split_once(';').ok_or("a `&` without `;`")?;
        let code = match name
            .strip_prefix("#x")
            .map(|hex| u32::from_str_radix(hex, 16))
        {
            Some(code) => code.ok(),
            None => name
                .strip_prefix('#')
                .and_then(|digits| digits.parse().ok()),
        };
        out.push(match (name, code) {
            ("amp", _) => '&',
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("quot", _) => '"',
            ("apos", _) => '\'',
            (_, Some(code)) => char::from_u32(code).ok_or("a character that there is not")?,
            _ => return Err(format!("the entity `&{name:.40};`, which is not read")),
        });
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_annotation_files_have() {
        let text = "\u{FEFF}<?xml version=\"1.0\"?>\n<!DOCTYPE annotation>\n<!-- a > b --><annotation verified='a>b'>
            <object><name> a&amp;b &#233;&#x41; </name><empty/><part><name>x</name></part></object>
            <object><name><![CDATA[<dog>]]></name></object></annotation>";
        let root = Element::read(text.as_bytes()).unwrap();
        assert_eq!(root.name, "annotation");
        let names: Vec<_> = root
            .all("object")
            .map(|o| o.text_of("name").unwrap())
            .collect();
        assert_eq!(names, ["a&b éA", "<dog>"]);
        assert!(root.find("name").is_none(), "direct children only");
        let lines: Vec<usize> = root.all("object").map(|o| o.line).collect();
        assert_eq!((root.line, lines), (3, vec![4, 5]));
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xE9</a>";
        assert_eq!(Element::read(latin).unwrap().text, "é");
    }

    #[test]
    fn refuses_the_rest() {
        let error = |text: &str| Element::read(text.as_bytes()).unwrap_err();
        assert_eq!(error("<a>\n<b></a>"), "`</a>` closes nothing in line 2");
        assert!(
            error("<a><b>").contains("ends where"),
            "{}",
            error("<a><b>")
        );
        assert!(error("").contains("ends where"));
        assert!(error("<!DOCTYPE a [<!ENTITY x \"y\">]><a/>").contains("declarations"));
        assert!(error("<a>&x;</a>").contains("`&x;`"));
        assert!(error("<a>&</a>").contains("without `;`"));
        assert!(error(&"<a>".repeat(100_000)).contains("too deep"));
        assert!(error("hello <a/>").contains("outside"));
        assert!(error("<a b='").contains("ends"));
        assert!(error("< a/>").contains("without a name"));
    }
}
