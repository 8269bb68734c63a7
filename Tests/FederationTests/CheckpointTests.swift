import Federation
import Fleets
import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing

/// A disk on which a run ends at its n-th operation, as a `kill -9` would end it: what is written can end in its middle.
final class CrashingFiles: RunFiles {
    struct Crash: Error {}

    private let disk = DiskFiles()
    private let left: Mutex<Int>
    private let list = Mutex<[String]>([])

    init(after operations: Int) { left = Mutex(operations) }

    private func step(_ operation: String) throws {
        list.withLock { $0.append(operation) }
        try left.withLock { left in
            left -= 1
            // Everything after the crash fails as well: nobody is left to do it.
            if left < 0 { throw Crash() }
        }
    }

    var operations: [String] { list.withLock { $0 } }

    func createDirectory(_ path: String) throws {
        try step("create folder \(path)")
        try disk.createDirectory(path)
    }

    func write(_ bytes: [UInt8], to path: String, isSynchronized: Bool) throws {
        try step("create \(path)")
        try disk.write(Array(bytes[..<(bytes.count / 2)]), to: path, isSynchronized: false)
        try step("write the rest of \(path)")
        try disk.write(bytes, to: path, isSynchronized: false)
        guard isSynchronized else { return }
        try step("synchronize \(path)")
        try disk.write(bytes, to: path, isSynchronized: true)
    }

    func replace(_ path: String, with bytes: [UInt8]) throws {
        let temporary = path + ".crashed.tmp"
        try step("create \(temporary)")
        try disk.write(Array(bytes[..<(bytes.count / 2)]), to: temporary, isSynchronized: false)
        try step("write the rest of \(temporary)")
        try disk.write(bytes, to: temporary, isSynchronized: true)
        try step("rename to \(path)")
        try disk.rename(temporary, to: path)
    }

    func append(_ bytes: [UInt8], to path: String) throws {
        try step("append to \(path)")
        try disk.append(Array(bytes[..<(bytes.count / 2)]), to: path)
        try step("append the rest to \(path)")
        try disk.append(Array(bytes[(bytes.count / 2)...]), to: path)
    }

    func link(_ source: String, as path: String) throws -> Bool {
        try step("link \(path)")
        return try disk.link(source, as: path)
    }

    func rename(_ source: String, to path: String) throws {
        try step("rename to \(path)")
        try disk.rename(source, to: path)
    }

    func synchronizeFolder(_ path: String) throws {
        try step("synchronize folder \(path)")
        try disk.synchronizeFolder(path)
    }

    func remove(_ path: String) throws {
        try step("remove \(path)")
        try disk.remove(path)
    }
}

@Suite("Crash consistency of a run folder")
struct CheckpointTests {
    /// Runs to the end, and returns what must not depend on any crash.
    private func finish(_ folder: String, _ change: (inout RunConfiguration) -> Void) async throws -> [String: String] {
        let plan = try TinyProblem.plan(folder, change)
        let run = Run(plan, fleet: SimulatedFleet(threads: 1), resume: true)
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
            $0.averaging.serverMomentum = 0.5
            $0.output.comparison = true
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
            let crash = CrashingFiles(after: crashes)
            var isCrashed = false
            do {
                _ = try await Run(
                    plan, fleet: SimulatedFleet(threads: 1),
                    files: crash
                ).run()
            } catch is CrashingFiles.Crash {
                isCrashed = true
            }
            guard isCrashed else { break }
            let last = crash.operations[crashes]
            // A reader finds whole files at any moment.
            if Files.exists(plan.folder.model) { _ = try Safetensors(contentsOf: plan.folder.model) }
            if Files.exists(plan.folder.config) { _ = try plan.folder.readConfiguration() }
            let resumed = try await finish(scratch.path, settings)
            #expect(resumed == expected, "after a crash before: \(last)")
            #expect(try Files.names(in: scratch.path).allSatisfy { !$0.hasSuffix(".tmp") }, "crash before: \(last)")
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

    /// A finished run of three rounds with everything that a round's folder may hold.
    private func wholeRun(_ folder: RunFolder) async throws {
        _ = try await finish(folder.path, Self.everything)
        let names = ["reports.jsonl", "round.json", "server.safetensors", "weights.safetensors"]
        #expect(try Files.names(in: folder.round(3)) == names)
    }

    private static let everything: @Sendable (inout RunConfiguration) -> Void = { $0.averaging.serverMomentum = 0.5 }
    private static let oneMore: @Sendable (inout RunConfiguration) -> Void = {
        everything(&$0)
        $0.federation.rounds = 4
    }

    enum Damage: Equatable, CaseIterable { case first, middle, last, shorter, empty, longer, removed }

    private func damage(_ path: String, _ damage: Damage) throws {
        var bytes = try Files.read(path, maximumBytes: 1 << 20)
        switch damage {
        case .first: bytes[0] ^= 1
        case .middle: bytes[bytes.count / 2] ^= 0x10
        case .last: bytes[bytes.count - 3] ^= 0x80
        case .shorter: bytes.removeLast()
        case .empty: bytes = []
        case .longer: bytes.append(0)
        case .removed: return try Files.remove(path)
        }
        try Files.writeAtomically(bytes, to: path)
    }

    @Test("no file of the last round can be damaged without being named, and the round before is offered")
    func damages() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        try await wholeRun(folder)
        for name in try Files.names(in: folder.round(3)) {
            let path = folder.round(3) + "/" + name
            let whole = try Files.read(path, maximumBytes: 1 << 20)
            for damage in Damage.allCases {
                try self.damage(path, damage)
                let error = await #expect(throws: DeMLError.self, "\(name) \(damage)") {
                    _ = try await finish(scratch.path, Self.oneMore)
                }
                #expect(error?.place == path, "\(name) \(damage): \(error?.description ?? "")")
                #expect(error?.hint?.contains("round 2, which is whole, by removing \(folder.round(3))") == true)
                try Files.writeAtomically(whole, to: path)
            }
        }
        // As the hint says: from the round before, to the bytes of a run that nothing happened to.
        let undisturbed = try ScratchFolder()
        let expected = try await finish(undisturbed.path, Self.oneMore)
        try FileManager.default.removeItem(atPath: folder.round(3))
        #expect(try await finish(scratch.path, Self.oneMore) == expected)
    }

    @Test("a flipped bit anywhere in a round's record is seen")
    func everyBit() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        try await wholeRun(folder)
        let path = folder.metrics(round: 2)
        let whole = try Files.read(path, maximumBytes: 1 << 20)
        _ = try folder.check(round: 2)
        var unseen: [Int] = []
        for index in whole.indices {
            var bytes = whole
            bytes[index] ^= 1 << UInt8(index % 8)
            try Data(bytes).write(to: URL(filePath: path))
            if (try? folder.check(round: 2, isWhole: false)) != nil { unseen.append(index) }
        }
        #expect(unseen.isEmpty && whole.count > 500)
    }

    @Test("damage in an older round's record, and in the weights of the best round, is named", arguments: [0, 1])
    func olderDamage(round: Int) async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        try await wholeRun(folder)
        try damage(folder.metrics(round: round), .middle)
        let error = await #expect(throws: DeMLError.self) { _ = try await finish(scratch.path, Self.oneMore) }
        #expect(error?.place == folder.metrics(round: round))
        #expect(
            error?.hint?.contains(round == 0 ? "no older round is whole" : "the folders after \(folder.round(0))")
                == true)
    }

    @Test("settings that were changed in config.json are noticed, though the file looks right")
    func changedSettings() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        try await wholeRun(folder)
        var configuration = try folder.readConfiguration()
        configuration.training.batchSize = 17
        configuration.federation.rounds = 4
        try Files.writeAtomically([UInt8](try JSONEncoder().encode(configuration)), to: folder.config)
        let error = await #expect(throws: DeMLError.self) {
            _ = try await finish(scratch.path) { $0 = configuration }
        }
        #expect(error?.place == folder.config && error?.code == .mismatch)
    }

    @Test("a run of a version without digests is gone on with")
    func unsealed() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        try await wholeRun(folder)
        for round in 0...3 {
            let path = folder.metrics(round: round)
            var record = try #require(
                try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path))) as? [String: Any])
            for key in ["files", "settings_sha256", "record_sha256"] { #expect(record.removeValue(forKey: key) != nil) }
            try JSONSerialization.data(withJSONObject: record).write(to: URL(filePath: path))
        }
        let undisturbed = try ScratchFolder()
        let expected = try await finish(undisturbed.path, Self.oneMore)
        #expect(try await finish(scratch.path, Self.oneMore) == expected)
        try damage(folder.weights(round: 3), .middle)
        #expect(throws: DeMLError.self) { try folder.check(round: 3) }
    }
}

extension String {
    fileprivate var lastComponent: String { Files.name(of: self) }
}
