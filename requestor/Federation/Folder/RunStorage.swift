import Foundation
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What a run folder asks of a disk. A test puts one of its own here that ends at any of these operations, as the end of
/// the process would.
package protocol RunFiles: Sendable {
    func createDirectory(_ path: String) throws
    /// Writes a new file, not atomically: for files in a folder that is renamed as a whole.
    func write(_ bytes: [UInt8], to path: String, isSynchronized: Bool) throws
    /// Replaces a file: the old one or the new one is there at any time.
    func replace(_ path: String, with bytes: [UInt8]) throws
    /// Adds to a file, which is created when there is none.
    func append(_ bytes: [UInt8], to path: String) throws
    /// Makes `path` another name of the file `source`; false where the file system has no links.
    func link(_ source: String, as path: String) throws -> Bool
    /// Gives a file or folder another name, in place of a file that has it.
    func rename(_ source: String, to path: String) throws
    /// A renamed file is on disk only when its folder is.
    func synchronizeFolder(_ path: String) throws
    /// Removes a file or a whole folder; one that is not there is no error.
    func remove(_ path: String) throws
}

/// The disk of this machine.
package struct DiskFiles: RunFiles {
    package init() {}

    package func createDirectory(_ path: String) throws { try Files.createDirectory(path) }

    package func write(_ bytes: [UInt8], to path: String, isSynchronized: Bool) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.failure("it cannot be created", path) }
        defer { close(file) }
        try Self.writeAll(bytes, to: file, path)
        if isSynchronized { guard fsync(file) == 0 else { throw Self.failure("it cannot be written", path) } }
    }

    package func replace(_ path: String, with bytes: [UInt8]) throws { try Files.writeAtomically(bytes, to: path) }

    package func append(_ bytes: [UInt8], to path: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.failure("it cannot be written", path) }
        defer { close(file) }
        try Self.writeAll(bytes, to: file, path)
    }

    package func link(_ source: String, as path: String) throws -> Bool { systemLink(source, path) == 0 }

    package func rename(_ source: String, to path: String) throws {
        guard systemRename(source, path) == 0 else { throw Self.failure("it cannot be created", path) }
    }

    package func synchronizeFolder(_ path: String) throws {
        let folder = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        // A file system that cannot do this is no reason to fail.
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    package func remove(_ path: String) throws {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            guard Files.exists(path) else { return }
            throw DeMLError(.io, "it cannot be removed", place: path, cause: error)
        }
    }

    private static func writeAll(_ bytes: [UInt8], to file: Int32, _ path: String) throws {
        try bytes.withUnsafeBytes { buffer in
            var count = 0
            while count < buffer.count {
                guard let base = buffer.baseAddress else { return }
                let put = systemWrite(file, base + count, min(buffer.count - count, 1 << 30))
                if put < 0 {
                    if errno == EINTR { continue }
                    throw failure("it cannot be written", path)
                }
                count += put
            }
        }
    }

    private static func failure(_ what: String, _ path: String) -> DeMLError {
        let number = errno
        let reason = String(cString: strerror(number))
        let hint = number == ENOSPC || number == EDQUOT ? "free some space and try again" : nil
        let code: DeMLError.Code =
            switch number {
            case ENOSPC, EDQUOT: .diskFull
            case EACCES, EPERM, EROFS, ENOENT, ENOTDIR: .cannotCreate
            default: .io
            }
        return DeMLError(code, "\(what): \(reason)", place: path, hint: hint)
    }
}

// `link`, `rename` and `write` are names of the type above too.
private func systemLink(_ source: String, _ path: String) -> Int32 { link(source, path) }
private func systemRename(_ source: String, _ path: String) -> Int32 { rename(source, path) }
private func systemWrite(_ file: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { write(file, bytes, count) }

/// The file operations of a run folder, made of those that ``RunFiles`` has.
struct RunStorage: Sendable {
    var files: any RunFiles = DiskFiles()

    func createDirectory(_ path: String) throws {
        if !Files.isDirectory(path) { try files.createDirectory(path) }
    }

    func write(_ bytes: [UInt8], to path: String, isSynchronized: Bool) throws {
        try files.write(bytes, to: path, isSynchronized: isSynchronized)
    }

    func append(_ line: [UInt8], to path: String) throws { try files.append(line, to: path) }

    func rename(_ source: String, to path: String) throws { try files.rename(source, to: path) }

    func synchronizeFolder(_ path: String) throws { try files.synchronizeFolder(path) }

    func remove(_ path: String) throws {
        if Files.exists(path) { try files.remove(path) }
    }

    func replace(_ path: String, with bytes: [UInt8]) throws { try files.replace(path, with: bytes) }

    /// Makes `path` another name of `source`, replacing what has this name; a copy where the file system has no links.
    func link(_ source: String, as path: String) throws {
        let temporary = path + ".tmp"
        try remove(temporary)
        if try !files.link(source, as: temporary) {
            try write(try Files.read(source, maximumBytes: .max), to: temporary, isSynchronized: true)
        }
        try rename(temporary, to: path)
        // Renaming one name of a file over another name of the same file does nothing and leaves both.
        try remove(temporary)
    }
}
