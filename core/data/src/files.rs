//! [`Files`]: where pictures and annotations come from.

use super::image::Image;

/// Where files are: pictures for `LoadImageFromFile`, annotations for data sets.
pub trait Files: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// The reason, without the name.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// A file to be read from its start, which need not fit into memory.
    ///
    /// # Errors
    /// The reason, without the name.
    fn open(&self, path: &str) -> Result<Box<dyn std::io::Read + '_>, String> {
        Ok(Box::new(std::io::Cursor::new(self.read(path)?)))
    }

    /// The picture of a file that was decoded before ([`Self::keep`]), where they are kept.
    fn decoded(&self, path: &str) -> Option<Image> {
        let _ = path;
        None
    }

    /// Told of a picture that was decoded.
    fn keep(&self, path: &str, image: &Image) {
        let _ = (path, image);
    }
}
