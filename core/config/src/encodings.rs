//! [`Encoding`]: those of the web, by `encoding_rs`; in a page by the browser, which has the same tables, so that they need not be fetched.

use std::borrow::Cow;

pub use tables::Encoding;

/// UTF-8.
pub fn utf8() -> Encoding {
    Encoding::of_label("utf-8").expect("every table has UTF-8")
}

/// UTF-16, the low byte first.
pub fn utf16le() -> Encoding {
    Encoding::of_label("utf-16le").expect("every table has UTF-16")
}

/// UTF-16, the high byte first.
pub fn utf16be() -> Encoding {
    Encoding::of_label("utf-16be").expect("every table has UTF-16")
}

/// The encoding that a byte-order mark says, and what follows the mark.
pub fn marked(bytes: &[u8]) -> Option<(Encoding, &[u8])> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Some((utf8(), rest)),
        [0xFF, 0xFE, rest @ ..] => Some((utf16le(), rest)),
        [0xFE, 0xFF, rest @ ..] => Some((utf16be(), rest)),
        _ => None,
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod tables {
    use super::Cow;
    use encoding_rs::DecoderResult;

    /// An encoding.
    #[derive(Clone, PartialEq)]
    pub struct Encoding(&'static encoding_rs::Encoding);

    impl Encoding {
        /// By one of its names.
        pub fn of_label(label: &str) -> Option<Self> {
            encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Self)
        }

        /// Its name.
        pub fn name(&self) -> String {
            self.0.name().to_owned()
        }

        /// The text; else the place of the first byte that is none.
        ///
        /// # Errors
        /// That place.
        pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, usize> {
            let whole = self
                .0
                .decode_without_bom_handling_and_without_replacement(bytes);
            if let Some(text) = whole {
                return Ok(text);
            }
            let mut decoder = self.0.new_decoder_without_bom_handling();
            let mut text = String::new();
            let most = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
            text.reserve(most.unwrap_or(0));
            let (result, read) =
                decoder.decode_to_string_without_replacement(bytes, &mut text, true);
            Err(match result {
                DecoderResult::Malformed(length, after) => {
                    read.saturating_sub(usize::from(length) + usize::from(after))
                }
                _ => read,
            })
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod tables {
    use super::Cow;
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen]
    extern "C" {
        type TextDecoder;
        #[wasm_bindgen(constructor, catch)]
        fn new(label: &str, options: &JsValue) -> Result<TextDecoder, JsValue>;
        #[wasm_bindgen(method, getter)]
        fn encoding(this: &TextDecoder) -> String;
        #[wasm_bindgen(method, catch)]
        fn decode(this: &TextDecoder, bytes: &[u8], options: &JsValue) -> Result<String, JsValue>;
    }

    /// An encoding.
    #[derive(Clone, PartialEq)]
    pub struct Encoding(String);

    impl Encoding {
        /// By one of its names.
        pub fn of_label(label: &str) -> Option<Self> {
            decoder(label).map(|known| Self(known.encoding()))
        }

        /// Its name.
        pub fn name(&self) -> String {
            self.0.to_uppercase()
        }

        /// The text; else the place of the first byte up to which it is seen to be none.
        ///
        /// # Errors
        /// That place.
        pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, usize> {
            if self.0 == "utf-8" {
                let text = std::str::from_utf8(bytes).map(Cow::Borrowed);
                return text.map_err(|wrong| wrong.valid_up_to());
            }
            let read = |part: &[u8], more: bool| {
                let options = if more { "{\"stream\":true}" } else { "{}" };
                let options = js_sys::JSON::parse(options).unwrap_or_default();
                decoder(&self.0).and_then(|decoder| decoder.decode(part, &options).ok())
            };
            if let Some(text) = read(bytes, false) {
                return Ok(Cow::Owned(text));
            }
            let (mut good, mut bad) = (0, bytes.len());
            while good + 1 < bad {
                let middle = (good + bad) / 2;
                match read(&bytes[..middle], true) {
                    Some(_) => good = middle,
                    None => bad = middle,
                }
            }
            Err(good)
        }
    }

    fn decoder(label: &str) -> Option<TextDecoder> {
        let options = js_sys::JSON::parse("{\"fatal\":true,\"ignoreBOM\":true}");
        TextDecoder::new(label, &options.unwrap_or_default()).ok()
    }
}
