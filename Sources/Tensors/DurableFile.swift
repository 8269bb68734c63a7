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
            // In pieces that stay in the processor's cache between hashing and copying.
            let piece = UnsafeRawBufferPointer(rebasing: bytes[position..<min(position + 1 << 18, bytes.count)])
            digest.update(piece)
            var put = 0
            while put < piece.count {
                let written = systemWrite(file, piece.baseAddress! + put, piece.count - put)
                if written < 0 {
                    if errno == EINTR { continue }
                    throw failure(errno)
                }
                put += written
            }
            position += piece.count
            count += piece.count
        }
    }

    public func write(_ bytes: [UInt8]) throws(DeMLError) {
        try bytes[...].withBytes { (buffer: UnsafeRawBufferPointer) throws(DeMLError) in try write(buffer) }
    }

    /// Completes the file: on disk, with its name, the folder on disk too. Returns the SHA-256 of its bytes.
    @discardableResult
    public func commit() throws(DeMLError) -> String {
        precondition(file >= 0, "the file is complete")
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
