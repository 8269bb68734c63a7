import Federation
import Foundation
import Synchronization
import Tensors
import Testing

/// Ends a run at its n-th file operation, as a `kill -9` would.
final class CrashPoint: Sendable {
    struct Crash: Error {}

    private let left: Mutex<Int>
    private let list = Mutex<[String]>([])

    init(after operations: Int) { left = Mutex(operations) }

    func willPerform(_ operation: String) throws {
        list.withLock { $0.append(operation) }
        try left.withLock { left in
            left -= 1
            // Everything after the crash fails as well: nobody is left to do it.
            if left < 0 { throw Crash() }
        }
    }

    var operations: [String] { list.withLock { $0 } }
}

@Suite("Crash consistency of a run folder")
struct CheckpointTests {
    /// Runs to the end, and returns what must not depend on any crash.
    private func finish(_ folder: String, _ change: (inout RunConfiguration) -> Void) async throws -> [String: String] {
        let plan = try TinyProblem.plan(folder, change)
        let run = Run(plan, fleet: SimulatedFleet(shards: plan.clientExamples, threads: 1), resume: true)
        _ = try await run.run()
        return try contents(of: plan.folder)
    }

    /// Digests of all files whose bytes are a function of the settings.
    private func contents(of folder: RunFolder) throws -> [String: String] {
        var digests: [String: String] = [:]
        for path in [folder.model, folder.best] {
            digests[path.lastComponent] = try Safetensors.digestOfContents(of: path)
        }
        for round in 0...3 {
            for name in try Files.names(in: folder.round(round)) where name.hasSuffix(".safetensors") {
                let path = folder.round(round) + "/" + name
                digests["\(round)/\(name)"] = try Safetensors.digestOfContents(of: path)
            }
        }
        let metrics = try folder.readMetrics()
        digests["metrics"] = metrics.map { "\($0.round) \($0.loss) \($0.weightsSHA256)" }.joined(separator: "\n")
        let summary = try folder.readSummary()
        digests["summary"] = "\(summary.modelSHA256) \(summary.bestRound) \(summary.rounds) \(summary.accuracy ?? -1)"
        return digests
    }

    @Test("a run that ends at any file operation is resumed to the same bytes")
    func everyCrash() async throws {
        let settings: @Sendable (inout RunConfiguration) -> Void = {
            $0.serverMomentum = 0.5
            $0.comparison = true
        }
        let reference = try ScratchFolder()
        let expected = try await finish(reference.path, settings)
        #expect(
            expected["3/server.safetensors"] != nil
                && expected["model.safetensors"] == expected["3/weights.safetensors"])

        var crashes = 0
        while true {
            let scratch = try ScratchFolder()
            let plan = try TinyProblem.plan(scratch.path, settings)
            let crash = CrashPoint(after: crashes)
            var isCrashed = false
            do {
                _ = try await Run(
                    plan, fleet: SimulatedFleet(shards: plan.clientExamples, threads: 1),
                    willPerform: crash.willPerform
                ).run()
            } catch is CrashPoint.Crash {
                isCrashed = true
            }
            guard isCrashed else { break }
            let last = crash.operations[crashes]
            // A reader finds whole files at any moment.
            if Files.exists(plan.folder.model) { _ = try Safetensors(contentsOf: plan.folder.model) }
            if Files.exists(plan.folder.config) { _ = try plan.folder.readConfiguration() }
            let resumed = try await finish(scratch.path, settings)
            #expect(resumed == expected, "after a crash before: \(last)")
            #expect(
                try Files.names(in: plan.folder.rounds) == ["0000", "0001", "0002", "0003"], "crash before: \(last)")
            crashes += 1
        }
        #expect(crashes > 60, "only \(crashes) file operations were seen")
    }

    @Test("the lines of a file are those that were written whole")
    func tornLine() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        _ = try await finish(scratch.path) { _ in }
        let lines = try folder.readEvents().count
        var bytes = try Files.read(folder.events, maximumBytes: 1 << 20)
        bytes.removeLast(5)
        try Files.writeAtomically(bytes, to: folder.events)
        #expect(try folder.readEvents().count == lines - 1)
    }

    @Test("weights that were changed on disk are noticed")
    func damage() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        _ = try await finish(scratch.path) { _ in }
        var bytes = try Files.read(folder.weights(round: 3), maximumBytes: 1 << 20)
        bytes[bytes.count - 3] ^= 1
        try Files.writeAtomically(bytes, to: folder.weights(round: 3))
        let error = await #expect(throws: DeMLError.self) { _ = try await finish(scratch.path) { $0.rounds = 4 } }
        #expect(error?.code == .mismatch && error?.place == folder.weights(round: 3))
    }
}

extension String {
    fileprivate var lastComponent: String { Files.name(of: self) }
}
