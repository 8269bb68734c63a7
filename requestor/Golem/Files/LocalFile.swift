#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An open file, read and written by offset. Safe to share: the descriptor never changes and the calls used carry
/// their own offset.
package final class LocalFile: Sendable {
    let path: String
    private let descriptor: Int32

    enum Mode { case read, create, append }

    init(_ path: String, _ mode: Mode) throws {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .create: O_RDWR | O_CREAT | O_TRUNC
            case .append: O_RDWR | O_CREAT | O_APPEND
            }
        let descriptor = open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LocalFile.failure("cannot open", path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    static func failure(_ what: String, _ path: String) -> GolemError {
        GolemError(.io, "\(what) the file: " + String(cString: strerror(errno)), place: path)
    }

    func size() throws -> Int {
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw LocalFile.failure("cannot measure", path) }
        return Int(end)
    }

    /// Up to `count` bytes from `offset`; fewer only at the end of the file.
    func read(at offset: Int, count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress! + done, count - done, offset + done)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw LocalFile.failure("cannot read", path) }
            if got == 0 { break }
            done += got
        }
        return done == count ? bytes : Array(bytes.prefix(done))
    }

    func write(_ bytes: some Collection<UInt8>, at offset: Int) throws {
        let bytes = ContiguousArray(bytes)
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, offset + done)
            }
            if put < 0, errno == EINTR { continue }
            guard put >= 0 else { throw LocalFile.failure("cannot write", path) }
            done += put
        }
    }

    /// Writes at the end (mode `append`) and waits until the disk has it.
    func appendDurably(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            // Qualified by the overload with a buffer: the method of this class has the same name.
            let put = bytes.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress! + done, bytes.count - done) }
            if put < 0, errno == EINTR { continue }
            guard put >= 0 else { throw LocalFile.failure("cannot write", path) }
            done += put
        }
        guard fsync(descriptor) == 0 else { throw LocalFile.failure("cannot save", path) }
    }

    func truncate(to size: Int) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw LocalFile.failure("cannot cut", path) }
    }

    /// Takes the lock on the file for this process, or returns false if another holds it. Freed when the process ends.
    func tryLock() -> Bool {
        flock(descriptor, LOCK_EX | LOCK_NB) == 0
    }

    func unlock() {
        flock(descriptor, LOCK_UN)
    }

    /// Which file a path names, and in which state.
    package struct Version: Hashable, Sendable {
        fileprivate let device: UInt64
        fileprivate let number: UInt64
        fileprivate let size: Int64
        /// When it was changed, in nanoseconds.
        fileprivate let changed: Int64
    }

    package static func version(of path: String) throws -> Version {
        var found = stat()
        guard stat(path, &found) == 0 else { throw failure("cannot open", path) }
        #if canImport(Darwin)
            let time = found.st_mtimespec
        #else
            let time = found.st_mtim
        #endif
        return Version(
            device: UInt64(truncatingIfNeeded: found.st_dev), number: UInt64(found.st_ino), size: Int64(found.st_size),
            changed: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    static func rename(_ from: String, to: String) throws {
        guard systemRename(from, to) == 0 else { throw failure("cannot move into place", to) }
    }

    static func remove(_ path: String) {
        unlink(path)
    }

    static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}

private func systemRename(_ from: String, _ to: String) -> Int32 {
    rename(from, to)
}
