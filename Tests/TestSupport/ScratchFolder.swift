import Foundation
import Tensors

/// A folder of one test, removed with the last reference to it.
package final class ScratchFolder: Sendable {
    package let path: String

    package init() throws {
        path = NSTemporaryDirectory() + "deml-test-" + UUID().uuidString
        try Files.createDirectory(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes an executable shell script and returns its path.
    package func script(_ name: String, _ body: String) throws -> String {
        let path = path + "/" + name
        try Files.writeAtomically(Array("#!/bin/sh\n\(body)\n".utf8), to: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }
}

/// A folder of its own for `body`, removed with what is in it.
package func withScratch(_ body: (String) throws -> Void) throws {
    let folder = try ScratchFolder()
    try withExtendedLifetime(folder) { try body(folder.path) }
}
