import CFileSystem

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A regular file's bytes as pages of memory, read when they are touched and dropped when memory is short: a file larger
/// than memory can be used, and one that was just written is not copied.
///
/// A file must not become shorter while it is mapped: the system ends a program that touches a page that is gone
/// (SIGBUS), and no check can prevent it. So nothing is mapped unless the caller asks for it, and that is for files that
/// nobody writes in place: those that this program writes take their name when they are complete, and one that replaces
/// another leaves the mapped one alone.
public final class MappedFile: @unchecked Sendable {
    // Unchecked: the pages are read-only and stay where they are until nobody holds this object any more.

    /// All of them.
    let bytes: UnsafeRawBufferPointer

    public var count: Int { bytes.count }

    /// Maps a file. Throws what ``Files/read(_:maximumBytes:)`` throws.
    public init(_ path: String, maximumBytes: Int = .max) throws(DeMLError) {
        let (file, size) = try Files.openRegular(path, maximumBytes: maximumBytes)
        defer { close(file) }
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), base != MAP_FAILED else {
            throw Files.failure("it cannot be mapped", path, errno, reading: true)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    /// Whether mapping this file is better than reading it: where reading would take half of the memory that is free, and
    /// where it is large (from 64 MiB) and its pages come from here. A 9p volume, such as a Golem guest has, sends each page
    /// by a round trip of its own, some hundred times slower than one large read.
    package static func isWorthIt(_ path: String) -> Bool {
        // What is wrong with a file is told by what reads it.
        guard let size = Files.size(of: path) else { return false }
        if size > availableMemory() / 2 { return true }
        guard size >= 64 << 20 else { return false }
        #if os(Linux)
            let magicOf9p = 0x0102_1997  // statfs(2): V9FS_MAGIC
            var system = statfs()
            return statfs(path, &system) != 0 || Int(system.f_type) != magicOf9p
        #else
            return true
        #endif
    }

    deinit {
        if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }

    /// Lets the system drop the pages that lie in the range whole; touched again, they are read again.
    func relinquish(_ range: Range<Int>) {
        let page = Int(getpagesize())
        let first = (range.lowerBound + page - 1) / page * page
        // The last page of the file is whole too, though the file ends in it.
        let end = range.upperBound == count ? count : range.upperBound / page * page
        guard first < end, let base = bytes.baseAddress else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, MADV_DONTNEED)
    }
}
