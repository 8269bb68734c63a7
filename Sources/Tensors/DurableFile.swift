#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file that is there whole or not at all, written piece by piece: a temporary file in the same folder, which takes its
/// name when it is complete and on disk. Where it is not committed, nothing is left and an older file of the name stays.
public final class DurableFile {
    public let path: String
    /// Bytes written so far.
    public private(set) var count = 0
    private let temporary: String
    private var file: Int32
    private var digest = SHA256Digest()
    /// What does not fill a block yet: a guest's volume takes a round trip for each call, so that small ones are slow.
    private var waiting: [UInt8] = []
    private static let blockBytes = 1 << 20

    /// Throws `cannotCreate`, `diskFull` or `io`, with the path as place, as all that follows.
    public init(_ path: String) throws(DeMLError) {
        self.path = path
        temporary = "\(path).\(getpid()).\(UInt32.random(in: .min ... .max)).tmp"
        file = -1
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw DeMLError(.cannotCreate, "something that is not a regular file has this name", place: path)
        }
        file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Files.failure("it cannot be created", path, errno, reading: false) }
    }

    deinit {
        guard file >= 0 else { return }
        close(file)
        unlink(temporary)
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(DeMLError) {
        precondition(file >= 0, "the file is complete")
        var position = 0
        while position < bytes.count {
            // What fills a block goes to the file from where it is.
            let isWhole = waiting.isEmpty && bytes.count - position >= Self.blockBytes
            let end = min(position + Self.blockBytes - waiting.count, bytes.count)
            let piece = UnsafeRawBufferPointer(rebasing: bytes[position..<end])
            digest.update(piece)
            if isWhole {
                try put(piece)
            } else {
                waiting.append(contentsOf: piece)
                if waiting.count == Self.blockBytes { try flush() }
            }
            position = end
            count += piece.count
        }
    }

    private func flush() throws(DeMLError) {
        try waiting[...].withBytes { (bytes: UnsafeRawBufferPointer) throws(DeMLError) in try put(bytes) }
        waiting.removeAll(keepingCapacity: true)
    }

    private func put(_ bytes: UnsafeRawBufferPointer) throws(DeMLError) {
        var written = 0
        while written < bytes.count {
            let count = systemWrite(file, bytes.baseAddress! + written, bytes.count - written)
            if count < 0 {
                if errno == EINTR { continue }
                throw failure(errno)
            }
            written += count
        }
    }

    public func write(_ bytes: [UInt8]) throws(DeMLError) {
        try bytes[...].withBytes { (buffer: UnsafeRawBufferPointer) throws(DeMLError) in try write(buffer) }
    }

    /// Completes the file: on disk, with its name, the folder on disk too. Returns the SHA-256 of its bytes.
    @discardableResult
    public func commit() throws(DeMLError) -> String {
        precondition(file >= 0, "the file is complete")
        try flush()
        guard fsync(file) == 0 else { throw failure(errno) }
        let descriptor = file
        file = -1
        guard close(descriptor) == 0, rename(temporary, path) == 0 else {
            let reason = errno
            unlink(temporary)
            throw failure(reason)
        }
        Files.synchronizeFolder(of: path)
        return digest.hex()
    }

    private func failure(_ number: Int32) -> DeMLError {
        Files.failure("it cannot be written", path, number, reading: false)
    }
}

// `write` is a name of the type above too.
private func systemWrite(_ file: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int {
    write(file, buffer, count)
}
