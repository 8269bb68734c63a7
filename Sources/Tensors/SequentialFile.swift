#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A regular file read from its beginning to its end, so that one larger than memory can be walked through, and one that
/// somebody shortens meanwhile is merely shorter.
package final class SequentialFile {
    private let file: Int32
    private let path: String
    /// Size of the file when it was opened.
    package let size: Int

    /// Throws what ``Files/read(_:maximumBytes:)`` throws.
    package init(_ path: String, maximumBytes: Int = .max) throws(DeMLError) {
        (file, size) = try Files.openRegular(path, maximumBytes: maximumBytes)
        self.path = path
    }

    deinit { close(file) }

    /// Fills `room` as far as there is content; fewer bytes only at the end.
    package func read(into room: UnsafeMutableRawBufferPointer) throws(DeMLError) -> Int {
        var count = 0
        while count < room.count, let base = room.baseAddress {
            #if canImport(Glibc)
                let got = Glibc.read(file, base + count, min(room.count - count, 1 << 30))
            #elseif canImport(Musl)
                let got = Musl.read(file, base + count, min(room.count - count, 1 << 30))
            #else
                let got = Darwin.read(file, base + count, min(room.count - count, 1 << 30))
            #endif
            if got == 0 { break }
            if got < 0 {
                if errno == EINTR { continue }
                throw Files.failure("it cannot be read", path, errno, reading: true)
            }
            count += got
        }
        return count
    }
}
