//! What Smalti uses of rayon, one thing after another.
//!
//! A page has one thread, where rayon's own way of sharing work would be a seventh of the module and never share any. The crates that use
//! rayon take this in its place for WebAssembly, by its name.

pub mod prelude {
    //! rayon's methods, by the iterators of the standard library.

    use std::slice::{Chunks, ChunksExact, ChunksExactMut, ChunksMut, Iter};

    pub use std::iter::Iterator as IndexedParallelIterator;

    /// What can be gone through.
    pub trait IntoParallelIterator: IntoIterator + Sized {
        /// [`IntoIterator::into_iter`].
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }
    }

    impl<I: IntoIterator> IntoParallelIterator for I {}

    /// What rayon's iterators have beyond the standard library's.
    pub trait ParallelIterator: Iterator + Sized {
        /// How many go to a thread at least: all do.
        fn with_min_len(self, _: usize) -> Self {
            self
        }

        /// Does `work` with each, and a value that is made once for all.
        fn for_each_init<T>(self, init: impl Fn() -> T, mut work: impl FnMut(&mut T, Self::Item)) {
            let mut value = init();
            self.for_each(|item| work(&mut value, item));
        }
    }

    impl<I: Iterator> ParallelIterator for I {}

    /// Parts of a slice.
    pub trait ParallelSlice<T> {
        /// [`slice::iter`].
        fn par_iter(&self) -> Iter<'_, T>;
        /// [`slice::chunks`].
        fn par_chunks(&self, size: usize) -> Chunks<'_, T>;
        /// [`slice::chunks_exact`].
        fn par_chunks_exact(&self, size: usize) -> ChunksExact<'_, T>;
        /// [`slice::chunks_mut`].
        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T>;
        /// [`slice::chunks_exact_mut`].
        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T>;
    }

    impl<T> ParallelSlice<T> for [T] {
        fn par_iter(&self) -> Iter<'_, T> {
            self.iter()
        }

        fn par_chunks(&self, size: usize) -> Chunks<'_, T> {
            self.chunks(size)
        }

        fn par_chunks_exact(&self, size: usize) -> ChunksExact<'_, T> {
            self.chunks_exact(size)
        }

        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T> {
            self.chunks_mut(size)
        }

        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T> {
            self.chunks_exact_mut(size)
        }
    }
}

pub mod slice {
    //! Iterators that are named.

    pub use std::slice::Chunks;
}

/// One.
pub fn current_num_threads() -> usize {
    1
}
