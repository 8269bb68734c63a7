#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Files whole: one large read, and writing that leaves either the old or the new file.
public enum Files {
    /// The content of a regular file. Throws `notFound`, `permission`, `tooLarge` or `io`, with the path as place.
    public static func read(_ path: String, maximumBytes: Int) throws(DeMLError) -> [UInt8] {
        let (file, size) = try openRegular(path, maximumBytes: maximumBytes)
        defer { close(file) }
        return try makeBytes(capacity: size) { (buffer) throws(DeMLError) -> Int in
            var count = 0
            while count < size {
                let got = systemRead(file, buffer.baseAddress! + count, min(size - count, 1 << 30))
                if got == 0 { break }
                if got < 0 {
                    if errno == EINTR { continue }
                    throw failure("it cannot be read", path, errno, reading: true)
                }
                count += got
            }
            return count
        }
    }

    /// The content of a regular file, at most 1 MiB at a time. Throws as ``read(_:maximumBytes:)`` does.
    static func eachPiece(
        of path: String, maximumBytes: Int, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(DeMLError) {
        let (file, _) = try openRegular(path, maximumBytes: maximumBytes)
        defer { close(file) }
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { room.deallocate() }
        while let base = room.baseAddress {
            let got = systemRead(file, base, room.count)
            if got == 0 { return }
            if got < 0 {
                if errno == EINTR { continue }
                throw failure("it cannot be read", path, errno, reading: true)
            }
            body(UnsafeRawBufferPointer(rebasing: room[..<got]))
        }
    }

    /// Opens a regular file to read. Throws as ``read(_:maximumBytes:)`` does; the caller closes it.
    static func openRegular(_ path: String, maximumBytes: Int) throws(DeMLError) -> (file: Int32, size: Int) {
        // Without waiting: opening a pipe would hang until somebody writes to it.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure("it cannot be read", path, errno, reading: true) }
        do throws(DeMLError) {
            var status = stat()
            guard fstat(file, &status) == 0 else { throw failure("it cannot be read", path, errno, reading: true) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                let what = status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "it is not a regular file"
                throw DeMLError(.io, "\(what), but a file was expected", place: path)
            }
            let size = Int(status.st_size)
            guard size <= maximumBytes else {
                throw DeMLError(
                    .tooLarge, "the file has \(size) bytes, more than the limit of \(maximumBytes)", place: path)
            }
            return (file, size)
        } catch {
            close(file)
            throw error
        }
    }

    /// The first bytes of a file, at most `count`.
    public static func prefix(of path: String, count: Int) throws(DeMLError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure("it cannot be read", path, errno, reading: true) }
        defer { close(file) }
        return try makeBytes(capacity: count) { (buffer) throws(DeMLError) -> Int in
            guard let base = buffer.baseAddress else { return 0 }
            var filled = 0
            // Until there is no more: what the kernel makes up, as in /proc, comes a page at a time.
            while filled < count {
                let got = systemRead(file, base + filled, min(count - filled, 1 << 30))
                if got == 0 { break }
                if got < 0 {
                    if errno == EINTR { continue }
                    throw failure("it cannot be read", path, errno, reading: true)
                }
                filled += got
            }
            return filled
        }
    }

    /// Writes a file so that it is there whole or not at all: see ``DurableFile``.
    /// Throws `cannotCreate`, `diskFull` or `io`, with the path as place.
    public static func writeAtomically(_ bytes: [UInt8], to path: String) throws(DeMLError) {
        let file = try DurableFile(path)
        try file.write(bytes)
        try file.commit()
    }

    /// Creates a folder and those above it that are missing; a folder that is there already is no error.
    public static func createDirectory(_ path: String) throws(DeMLError) {
        if path.isEmpty || isDirectory(path) { return }
        if let parent = parent(of: path), parent != path { try createDirectory(parent) }
        guard mkdir(path, 0o777) == 0 || (errno == EEXIST && isDirectory(path)) else {
            throw failure("the folder cannot be created", path, errno, reading: false)
        }
    }

    public static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    public static func exists(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0
    }

    /// Size of a file in bytes; nil where there is none.
    public static func size(of path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// The names in a folder, in the order of their bytes, without `.` and `..`.
    public static func names(in folder: String) throws(DeMLError) -> [String] {
        guard let directory = opendir(folder) else {
            throw failure("the folder cannot be read", folder, errno, reading: true)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Removes a file; one that is not there is no error.
    public static func remove(_ path: String) throws(DeMLError) {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw failure("it cannot be removed", path, errno, reading: false)
        }
    }

    /// `folder` and `name` as one path.
    public static func path(_ folder: String, _ name: String) -> String {
        folder.isEmpty ? name : folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    }

    /// The last part of a path.
    public static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// The folder a path is in; nil for a plain name.
    public static func parent(of path: String) -> String? {
        var trimmed = path[...]
        while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
        guard let slash = trimmed.lastIndex(of: "/") else { return nil }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }

    /// The renamed name is on disk only when the folder is. A file system that cannot do this is no reason to fail.
    static func synchronizeFolder(of path: String) {
        let folder = open(parent(of: path) ?? ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    /// An error out of `errno`.
    static func failure(_ what: String, _ path: String, _ number: Int32, reading: Bool) -> DeMLError {
        let reason = String(cString: strerror(number))
        switch number {
        case ENOENT, ENOTDIR:
            return reading
                ? DeMLError(.notFound, "there is no such file or folder", place: path)
                : DeMLError(.cannotCreate, "\(what): its folder does not exist", place: path)
        case EEXIST, EISDIR:
            return DeMLError(.cannotCreate, "\(what): something else has this name", place: path)
        case EACCES, EPERM, EROFS:
            return DeMLError(reading ? .permission : .cannotCreate, "\(what): \(reason)", place: path)
        case ENOSPC, EDQUOT:
            return DeMLError(.diskFull, "\(what): \(reason)", place: path, hint: "free some space and try again")
        default:
            return DeMLError(.io, "\(what): \(reason)", place: path)
        }
    }
}

// `read` is a name of this type too.
private func systemRead(_ file: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(file, buffer, count)
}
