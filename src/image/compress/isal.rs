//! The door to ISA-L, Intel's deflate (<https://github.com/intel/isa-l>), which is in C and assembler.
//!
//! Level 1 in its stateless form: one call takes one block. Whoever would change the level, the buffer's size or the
//! version changes the digest of every layer.
//!
//! Checked by `scripts/golden.sh` and with QEMU: one form each for SSE4.2, AVX, AVX2 and AVX-512, the same bytes. Level 3
//! would not do: its AVX2 form searches in another way. Different bytes, and correct ones, come from an x86-64 without SSE4.2
//! (before 2009; QEMU's `qemu64`) and from 64-bit ARM, where the hash that finds matches is another, so [`name`] tells them
//! apart. A layer that is pushed from there under another digest is known again all the same, by its digest before
//! compression.

use isal_sys::igzip_lib as isa_l;
use std::io;

/// For `--version`: with the form, where this processor gets other bytes than most.
pub(super) fn name() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    let form = if is_x86_feature_detected!("sse4.2") { Form::Usual } else { Form::Portable };
    #[cfg(target_arch = "aarch64")]
    let form = if std::arch::is_aarch64_feature_detected!("crc") { Form::Arm } else { Form::Portable };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let form = Form::Portable;
    match form {
        Form::Usual => "isa-l 2.31 level 1",
        Form::Arm => "isa-l 2.31 level 1 in its form for arm64",
        Form::Portable => "isa-l 2.31 level 1 in its portable form",
    }
}

/// The forms of ISA-L that give different bytes.
#[allow(dead_code, reason = "a processor has two of them at most")]
enum Form {
    /// x86-64 from SSE4.2 on.
    Usual,
    /// 64-bit ARM with instructions for CRC-32.
    Arm,
    /// C without any of them.
    Portable,
}

/// The longest stored block of deflate, and what stands before each
/// (<https://www.rfc-editor.org/rfc/rfc1951#section-3.2.4>).
const STORED: (usize, usize) = (65_535, 5);

/// The memory that ISA-L works in, cleared before each block: what a block leaves behind must not show in the next.
pub(super) struct Workspace {
    /// Hash table and tokens; 16-byte units for their alignment.
    level_buffer: Vec<u128>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self { level_buffer: vec![0; (isa_l::ISAL_DEF_LVL1_DEFAULT as usize).div_ceil(size_of::<u128>())] }
    }
}

impl Workspace {
    /// Deflates one block to the end of `output`: it ends at a byte boundary, is not the last one and looks back at
    /// nothing. What does not shrink is stored, five bytes longer for each 64 KiB.
    pub(super) fn deflate(&mut self, content: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        let (longest, header) = STORED;
        let start = output.len();
        let room = content.len() + (content.len() / longest + 2) * header;
        output.resize(start + room, 0);
        let written = self.call(content, &mut output[start..])?;
        output.truncate(start + written);
        Ok(())
    }

    /// The one call: compresses `content` to `output` and returns how many bytes were written.
    fn call(&mut self, content: &[u8], output: &mut [u8]) -> io::Result<usize> {
        let too_long = |_| io::Error::other("a block of 4 GiB or more");
        let (content_length, output_length) = (u32::try_from(content.len()), u32::try_from(output.len()));
        self.level_buffer.fill(0);
        #[expect(
            unsafe_code,
            reason = "the structure is plain data, for which zeroes are a value: numbers and pointers"
        )]
        let mut stream: Box<isa_l::isal_zstream> = Box::new(unsafe { std::mem::zeroed() });
        #[expect(unsafe_code, reason = "initializes a structure that we own, and keeps no pointer to it")]
        unsafe {
            isa_l::isal_deflate_stateless_init(&raw mut *stream);
        }
        stream.level = 1;
        stream.level_buf = self.level_buffer.as_mut_ptr().cast();
        stream.level_buf_size = isa_l::ISAL_DEF_LVL1_DEFAULT;
        stream.flush = u16::try_from(isa_l::FULL_FLUSH).map_err(io::Error::other)?;
        stream.gzip_flag = u16::try_from(isa_l::IGZIP_DEFLATE).map_err(io::Error::other)?;
        stream.next_in = content.as_ptr().cast_mut(); // declared mutable, only read
        stream.avail_in = content_length.map_err(too_long)?;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = output_length.map_err(too_long)?;
        #[expect(
            unsafe_code,
            reason = "the three buffers outlive the call, are as long as it was told and aligned, and overlap nowhere"
        )]
        let code = unsafe { isa_l::isal_deflate_stateless(&raw mut *stream) };
        match code {
            0 if stream.avail_in == 0 => Ok(stream.total_out as usize),
            _ => Err(io::Error::other(format!("ISA-L cannot compress a block: code {code}"))),
        }
    }
}
