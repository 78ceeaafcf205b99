//! Memory that goes from one block to the next.
//!
//! An allocator gives pieces as large as a block back to the system, and each new one is more than a hundred page faults,
//! which cost about as much as to compress what is packed already.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory that is free.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Memory that is in use, and comes back when this is dropped.
struct Lent {
    /// The memory.
    content: Vec<u8>,
    /// Where it comes back to.
    home: Buffers,
}

impl Buffers {
    /// Empty memory with room for so many bytes.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = free.unwrap_or_default();
        buffer.reserve_exact(length);
        buffer
    }

    /// What is in a buffer, to be read by others; when nobody needs it any more, the memory comes back.
    pub(super) fn lend(&self, content: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { content, home: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.content);
        buffer.clear();
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_nobody_reads_it_any_more() {
        let buffers = Buffers::default();
        let mut first = buffers.take(1000);
        first.extend([7; 1000]);
        let place = first.as_ptr();
        let (one, other) = (buffers.lend(first), buffers.take(1000));
        let slice = one.slice(10..20);
        drop(one);
        let another = buffers.take(1000);
        assert_ne!(another.as_ptr(), place, "somebody still reads it");
        assert_eq!(slice, [7; 10].as_slice());
        drop(slice);
        let again = buffers.take(1000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop((other, another));
    }
}
