import Foundation
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The file operations of a run folder. Each is announced before it is done, and files are written in two steps, so that
/// a test can end the run at every point where a real one could be killed.
struct RunStorage: Sendable {
    /// Told before every operation; an error from it stands for the end of the process.
    var willPerform: @Sendable (_ operation: String) throws -> Void = { _ in }

    func createDirectory(_ path: String) throws {
        if Files.isDirectory(path) { return }
        try willPerform("create folder \(path)")
        try Files.createDirectory(path)
    }

    /// Writes a new file, not atomically: for files in a folder that is renamed as a whole.
    func write(_ bytes: [UInt8], to path: String, isSynchronized: Bool) throws {
        try willPerform("create \(path)")
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.failure("it cannot be created", path) }
        defer { close(file) }
        let half = bytes.count / 2
        try Self.writeAll(bytes[..<half], to: file, path)
        try willPerform("write the rest of \(path)")
        try Self.writeAll(bytes[half...], to: file, path)
        if isSynchronized {
            try willPerform("synchronize \(path)")
            guard fsync(file) == 0 else { throw Self.failure("it cannot be written", path) }
        }
    }

    /// Replaces a file: the old one or the new one is there at any time.
    func replace(_ path: String, with bytes: [UInt8]) throws {
        try write(bytes, to: path + ".tmp", isSynchronized: true)
        try rename(path + ".tmp", to: path)
    }

    /// Makes `path` another name of `source`, replacing what has this name; a copy where the file system has no links.
    func link(_ source: String, as path: String) throws {
        let temporary = path + ".tmp"
        try Files.remove(temporary)
        try willPerform("link \(temporary)")
        let result = systemLink(source, temporary)
        if result != 0 {
            try write(try Files.read(source, maximumBytes: .max), to: temporary, isSynchronized: true)
        }
        try rename(temporary, to: path)
        // Renaming one name of a file over another name of the same file does nothing and leaves both.
        try Files.remove(temporary)
    }

    func rename(_ source: String, to path: String) throws {
        try willPerform("rename to \(path)")
        let result = systemRename(source, path)
        guard result == 0 else { throw Self.failure("it cannot be created", path) }
    }

    /// A renamed file is on disk only when its folder is.
    func synchronizeFolder(_ path: String) throws {
        try willPerform("synchronize folder \(path)")
        let folder = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    /// Adds a line to a file, which it creates when there is none.
    func append(_ line: [UInt8], to path: String) throws {
        try willPerform("append to \(path)")
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.failure("it cannot be written", path) }
        defer { close(file) }
        let half = line.count / 2
        try Self.writeAll(line[..<half], to: file, path)
        try willPerform("append the rest to \(path)")
        try Self.writeAll(line[half...], to: file, path)
    }

    /// Removes a file or a whole folder; one that is not there is no error.
    func remove(_ path: String) throws {
        guard Files.exists(path) else { return }
        try willPerform("remove \(path)")
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            guard Files.exists(path) else { return }
            throw DeMLError(.io, "it cannot be removed", place: path, cause: error)
        }
    }

    private static func writeAll(_ bytes: ArraySlice<UInt8>, to file: Int32, _ path: String) throws {
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

/// The JSON of a run folder.
enum RunJSON {
    /// For files a person may open: sorted keys, indented, with a final newline.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = strategy
        return [UInt8](try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }

    /// One line, with its newline.
    static func encodeLine(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = strategy
        return [UInt8](try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: some Sequence<UInt8>) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return try decoder.decode(type, from: Data(bytes))
    }

    /// A loss may be NaN: that is news, not a reason to lose the line.
    private static var strategy: JSONEncoder.NonConformingFloatEncodingStrategy {
        .convertToString(positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    }
}

extension RunFolder {
    func decode<Value: Decodable>(_ path: String) throws(DeMLError) -> Value {
        let bytes = try Files.read(path, maximumBytes: 1 << 30)
        do { return try RunJSON.decode(Value.self, from: bytes) } catch {
            throw DeMLError(.malformed, "it is not what DeML writes there", place: path, cause: error)
        }
    }

    /// The lines of a file; a last line without its newline is what a crash left, and is passed over.
    func decodeLines<Value: Decodable>(_ path: String) throws(DeMLError) -> [Value] {
        let bytes = try Files.read(path, maximumBytes: 1 << 30)
        var values: [Value] = []
        var start = 0
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            do { values.append(try RunJSON.decode(Value.self, from: bytes[start..<end])) } catch {
                throw DeMLError(
                    .malformed, "line \(values.count + 1) is not what DeML writes there", place: path, cause: error)
            }
            start = end + 1
        }
        return values
    }
}
