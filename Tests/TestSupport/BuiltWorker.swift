import Foundation
import Tensors

/// `deml-worker` as this build has made it.
package func builtWorker() throws -> String {
    let folder = Files.parent(of: CommandLine.arguments[0]) ?? "."
    for candidate in [folder, folder + "/..", FileManager.default.currentDirectoryPath + "/.build/release"] {
        let path = candidate + "/deml-worker"
        if FileManager.default.isExecutableFile(atPath: path) { return path }
    }
    throw DeMLError(.notFound, "no deml-worker beside the tests", hint: "swift build -c release --build-tests makes it")
}
