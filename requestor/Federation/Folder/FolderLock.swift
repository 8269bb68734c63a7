import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

// F_OFD_GETLK and F_OFD_SETLK of Linux, the same on every architecture; the C library shows them to GNU sources only.
private let getLockOfOpenFile: Int32 = 36
private let setLockOfOpenFile: Int32 = 37

/// Keeps a second process from working on the same run. Held by the kernel, so that a killed process holds nothing.
///
/// It is a lock on an open file (`F_OFD_SETLK`), because such a lock can be asked for without being taken: a reader that
/// looks whether a run is under way never stands in the way of one that starts.
package final class FolderLock: Sendable {
    private let file: Int32

    /// - Throws: `.usage` when another process, or another run of this one, has the lock.
    package init(path: String) throws(DeMLError) {
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else {
            throw DeMLError(.cannotCreate, "it cannot be created: \(String(cString: strerror(errno)))", place: path)
        }
        var lock = Self.whole
        guard fcntl(file, setLockOfOpenFile, &lock) == 0 else {
            let number = errno
            close(file)
            guard number == EAGAIN || number == EACCES else {
                throw DeMLError(.io, "it cannot be locked: \(String(cString: strerror(number)))", place: path)
            }
            throw DeMLError(
                .usage, "another process is working on this run", place: path,
                hint: "wait for it, or choose another --output")
        }
    }

    deinit {
        // Said, not left to the closing: a process that is just being started has this file open, too, until it runs.
        var lock = Self.whole
        lock.l_type = Int16(F_UNLCK)
        _ = fcntl(file, setLockOfOpenFile, &lock)
        close(file)
    }

    /// Whether somebody has the lock. Takes none.
    static func isHeld(_ path: String) -> Bool {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        var lock = whole
        return fcntl(file, getLockOfOpenFile, &lock) == 0 && lock.l_type != Int16(F_UNLCK)
    }

    /// An exclusive lock on the whole file.
    private static var whole: flock {
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        return lock
    }
}

extension RunFolder {
    /// Whether a process is working on the run now. Looking does not disturb one that starts.
    public var isAtWork: Bool { FolderLock.isHeld(lock) }
}
