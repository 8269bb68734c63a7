import Foundation
import Hummingbird
import NIOPosix
import Synchronization
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// Files that were dropped on the page: streamed into folders of our own under `runs/.uploads`, whose names are drawn, with a
/// limit. The name that a file had is shown, never used as a path: of it remain the letters, digits and a few signs of each of
/// its parts.
///
/// ```
/// runs/.uploads/3f…/iris.csv            one file: the data is the file
/// runs/.uploads/8a…/oak/1.png …         several: the data is the folder
/// ```
final class Uploads: Sendable {
    /// What is known of an upload while it comes.
    private struct Progress {
        var files = 0
        var bytes = 0
    }

    /// Of all files of an upload together.
    static let maximumBytes = 4 << 30
    static let maximumFiles = 200_000
    /// So much of the disk stays free.
    static let spare = 1 << 30

    /// Files of ours in the folder of an upload: what `deml predict` prints and makes for it, and keeps until it has ended.
    static let log = "predict.log"
    static let answers = "predictions.safetensors"
    static let work = answers + ".work"
    /// The description of the model that the answers are of.
    static let description = "model.json"
    /// What was made of a description and weights that were sent together.
    static let described = "model.safetensors"

    /// Whether a folder has a name as they are drawn here.
    static func isName(_ text: String) -> Bool {
        text.utf8.count == 16 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    /// How an upload is named where data is.
    static var reference: Regex<(Substring, Substring)> { /upload:([0-9a-f]+)/ }

    let folder: String
    private let progress = Mutex<[String: Progress]>([:])
    /// Held where an upload is found and where one is taken away, so that none goes that was just asked for.
    private let finding = Mutex(())

    init(folder: String) { self.folder = folder }

    /// Makes a folder for an upload; its name.
    func begin() throws -> String {
        let id = String(Door.secret().prefix(16))
        try Files.createDirectory(folder + "/" + id)
        progress.withLock { $0[id] = Progress() }
        return id
    }

    private func path(_ id: String) throws -> String {
        let path = folder + "/" + id
        guard Self.isName(id), Files.isDirectory(path) else {
            throw PageError(
                .notFound, "there is no such upload", hint: "it may have been removed: drop the file once more")
        }
        return path
    }

    /// What was uploaded, as data: the file where there is one, else the folder. It counts as used.
    func content(_ id: String) throws -> String {
        let path = try finding.withLock { _ in
            let folder = try self.path(id)
            // Of somebody else's folder the time cannot be set: then it is as old as it is.
            utimes(folder, nil)
            return folder
        }
        let names = try Files.names(in: path).filter { !$0.hasPrefix(".") }
        guard let first = names.first else { throw PageError(.unprocessableContent, "nothing has come of the upload") }
        let only = path + "/" + first
        return names.count == 1 ? only : path
    }

    /// What was uploaded, as a model: its one file; of several the ONNX file whose parts they are; of a description and weights
    /// the model of both.
    /// - Parameter make: writes the model of a description and weights to a path.
    func model(
        _ id: String, make: (_ description: String, _ weights: String, _ output: String) throws -> Void
    ) throws -> String {
        let content = try content(id)
        guard Files.isDirectory(content) else { return content }
        let names = try Files.names(in: content).filter { !$0.hasPrefix(".") }
        func ends(_ name: String, _ endings: String...) -> Bool { endings.contains { name.lowercased().hasSuffix($0) } }
        let graphs = names.filter { ends($0, ".onnx") }
        if graphs.count == 1 { return content + "/" + graphs[0] }
        let descriptions = names.filter { ends($0, ".yaml", ".yml", ".json") }
        guard names.count == 2, descriptions.count == 1, let weights = names.first(where: { $0 != descriptions[0] })
        else {
            throw PageError(
                .unprocessableContent, "these files are no model",
                hint:
                    "one file is, an ONNX file with the files of its weights, or a description (YAML) with a file of weights"
            )
        }
        let output = try own(id, Self.described)
        if !Files.exists(output) { try make(content + "/" + descriptions[0], content + "/" + weights, output) }
        return output
    }

    /// A file that is made to be sent, in a folder that goes when it was sent.
    /// - Parameters:
    ///   - name: what the browser calls it.
    ///   - write: writes it into a folder, and says where.
    func sent(
        name: String, type: String = "application/octet-stream", context: PageContext,
        _ write: @escaping @Sendable (_ folder: String) throws -> String
    ) async throws -> Response {
        let id = try begin()
        let place = folder + "/" + id
        do {
            let path = try await atLeisure { try write(place) }
            var response = try await Response.file(path, type: type, download: name, context: context)
            let body = response.body
            response.body = ResponseBody(contentLength: body.contentLength) { writer in
                defer { try? FileManager.default.removeItem(atPath: place) }
                try await body.write(writer)
            }
            return response
        } catch {
            try? FileManager.default.removeItem(atPath: place)
            throw error
        }
    }

    /// Takes an upload away if that is still right when nobody can ask for it.
    func remove(_ id: String, where isUnused: (String) -> Bool) -> Bool {
        let path = folder + "/" + id
        let removed = folder + "/.removed-" + id
        let isGone = finding.withLock { _ in isUnused(path) && rename(path, removed) == 0 }
        guard isGone else { return false }
        progress.withLock { $0[id] = nil }
        try? FileManager.default.removeItem(atPath: removed)
        return true
    }

    /// A file of ours beside what was uploaded: hidden, so that it is no part of the data.
    func own(_ id: String, _ name: String) throws -> String { try path(id) + "/." + name }

    /// Writes a file as it comes.
    /// - Parameter name: what it was called, with the folders it was in.
    /// - Returns: its bytes.
    func receive(_ id: String, name: String, length: Int?, _ body: RequestBody) async throws -> Int {
        let base = try path(id)
        let parts = name.split(whereSeparator: { $0 == "/" || $0 == "\\" }).filter { $0 != "." && $0 != ".." }
            .compactMap { FileName.part($0) }
        guard let last = parts.last else { throw PageError(.unprocessableContent, "the file has no name") }
        guard parts.count <= 4 else {
            throw PageError(.unprocessableContent, "the folders are nested too deep", place: last)
        }
        try admit(id, length ?? 0, file: true)
        let target = base + "/" + parts.joined(separator: "/")
        try Files.createDirectory(Files.parent(of: target) ?? base)
        let partial = base + "/.partial-" + Door.secret().prefix(12)
        let file = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else {
            throw PageError(.internalServerError, "the file cannot be created: \(String(cString: strerror(errno)))")
        }
        var isWhole = false
        var count = 0
        defer {
            close(file)
            if !isWhole { unlink(partial) }
        }
        for try await buffer in body {
            let bytes = buffer
            count += bytes.readableBytes
            if count > length ?? 0 { try admit(id, count - (length ?? 0), file: false) }
            // Writing waits for the disk: on a thread that may wait.
            try await NIOThreadPool.singleton.runIfActive { try Self.write(bytes, to: file) }
        }
        if let length, count < length { throw PageError(.badRequest, "the file has not come as a whole", place: last) }
        guard rename(partial, target) == 0 else {
            throw PageError(
                .conflict, "something else of this upload has this name: \(String(cString: strerror(errno)))",
                place: last)
        }
        isWhole = true
        let total = count
        progress.withLock { $0[id, default: Progress()].bytes += total }
        return count
    }

    /// Refuses what is too much, before it is written.
    private func admit(_ id: String, _ more: Int, file: Bool) throws {
        let isTooMuch = try progress.withLock { progress -> Bool in
            var known = progress[id] ?? Progress()
            if file { known.files += 1 }
            progress[id] = known
            guard known.files <= Self.maximumFiles else {
                throw PageError(.contentTooLarge, "these are more than \(Self.maximumFiles) files")
            }
            return known.bytes + more > Self.maximumBytes
        }
        guard !isTooMuch else {
            throw PageError(
                .contentTooLarge, "an upload may have \(Self.maximumBytes >> 30) GiB",
                hint: "put the file into the folder in which deml ui runs, and name it instead")
        }
        var disk = statvfs()
        guard statvfs(folder, &disk) == 0 else { return }
        let free = Int(disk.f_bavail) * Int(disk.f_frsize)
        guard free > more + Self.spare else {
            throw PageError(.insufficientStorage, "the disk is nearly full", hint: "free some space and try again")
        }
    }

    private static func write(_ buffer: ByteBuffer, to file: Int32) throws {
        try buffer.withUnsafeReadableBytes { bytes in
            var written = 0
            while written < bytes.count, let base = bytes.baseAddress {
                let put = Glibc.write(file, base + written, bytes.count - written)
                if put < 0 {
                    if errno == EINTR { continue }
                    throw PageError(
                        errno == ENOSPC ? .insufficientStorage : .internalServerError,
                        "it cannot be written: \(String(cString: strerror(errno)))")
                }
                written += put
            }
        }
    }
}
