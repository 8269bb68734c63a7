// Sorts the lines of files, each in a rented machine: `swift run batch OUTPUT-FOLDER FILE...`
//
// A file whose machine dies is given to another. Files go out and come back in pieces, so they may be large.
import Foundation
import Golem

let words = CommandLine.arguments.dropFirst()
guard let folder = words.first, words.count > 1 else {
    print("usage: batch OUTPUT-FOLDER FILE...")
    exit(64)
}
let files = Array(words.dropFirst())

do {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    var plan = RentalPlan(machines: min(2, files.count), image: .tag("golem/alpine:latest"), budget: 0.5)
    plan.onEvent = { if [.machineReady, .machineLost, .warning].contains($0.kind) { print($0) } }
    let requestor = Requestor(client: try GolemClient(), plan: plan)
    let sorted = try await requestor.run { pool in
        try await pool.map(files) { machine, file in
            let name = URL(fileURLWithPath: file).lastPathComponent
            try await machine.send(.file(file), to: "/golem/input/\(name)", limit: .seconds(300))
            // A program starts without environment, by its full path; files lie on the volumes of the image.
            try await machine.runChecked(
                [
                    .run(
                        "/bin/sh",
                        arguments: ["-c", "exec /usr/bin/sort <'/golem/input/\(name)' >'/golem/output/\(name)'"])
                ],
                limit: .seconds(600))
            return try await machine.fetch(
                "/golem/output/\(name)", into: "\(folder)/\(name)", maximumBytes: 1 << 30, limit: .seconds(300))
        }
    }
    for file in sorted { print("\(file.path): \(file.byteCount) bytes, SHA3-256 \(file.sha3)") }
    for line in await requestor.expenses() { print("\(line.providerName): \(line.accepted) GLM, \(line.state)") }
} catch let error as GolemError {
    print(error)
    exit(error.exitCode)
}
