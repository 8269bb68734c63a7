import Foundation
import Tensors

/// A folder that is there for one test.
final class ScratchFolder: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "deml-fleets-" + UUID().uuidString
        try Files.createDirectory(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes an executable shell script and returns its path.
    func script(_ name: String, _ body: String) throws -> String {
        let path = path + "/" + name
        try Files.writeAtomically(Array("#!/bin/sh\n\(body)\n".utf8), to: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }
}

/// `deml-worker` as this build has made it.
func builtWorker() throws -> String {
    let folder = Files.parent(of: CommandLine.arguments[0]) ?? "."
    for candidate in [folder, folder + "/..", FileManager.default.currentDirectoryPath + "/.build/release"] {
        let path = candidate + "/deml-worker"
        if FileManager.default.isExecutableFile(atPath: path) { return path }
    }
    throw DeMLError(.notFound, "no deml-worker beside the tests", hint: "swift build -c release --build-tests makes it")
}
