import Fleets
import Foundation
import Jobs
import Tensors

/// `rounds/0003/round.json`: what the round came to, and all that the next one needs to know beside weights and server
/// state.
public struct RoundRecord: Codable, Sendable, Equatable {
    public var metrics: RoundMetrics
    /// The best round up to this one.
    public var bestRound: Int
    public var bestAccuracy: Double?
    public var bestLoss: Double
    /// The best round's results on the test set, where it was chosen by the validation set.
    public var bestTestAccuracy: Double?
    public var bestTestLoss: Double?
    /// What each provider has done up to this round.
    public var workers: [WorkerTotals]
    /// Sums over all rounds up to this one.
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double
    public var failures: Int
    /// Whether the rounds of the run end here, as the wanted accuracy is reached.
    public var isLast: Bool
    /// What was checked up to this round.
    public var audits: AuditTotals?
    /// The other files of the round's folder, by name; absent in the records of older versions.
    public var files: [StoredFile]?
    /// Digest of the settings that decide what the run computes (``RunConfiguration/fixedSettingsSHA256``).
    public var settingsSHA256: String?
    /// The seal: SHA-256 of this record as it is written, with zeros in this place.
    public var recordSHA256: String?

    enum CodingKeys: String, CodingKey {
        case metrics, workers, seconds, failures, audits, files
        case settingsSHA256 = "settings_sha256"
        case recordSHA256 = "record_sha256"
        case bestRound = "best_round"
        case bestAccuracy = "best_accuracy"
        case bestLoss = "best_loss"
        case bestTestAccuracy = "best_test_accuracy"
        case bestTestLoss = "best_test_loss"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case isLast = "is_last"
    }

    /// The record of the untrained model.
    init(initial metrics: RoundMetrics, settingsSHA256: String) {
        self.metrics = metrics
        self.settingsSHA256 = settingsSHA256
        bestRound = 0
        bestAccuracy = metrics.chosenBy.accuracy
        bestLoss = metrics.chosenBy.loss
        workers = []
        seconds = 0
        bytesUp = 0
        bytesDown = 0
        costGLM = 0
        failures = 0
        isLast = false
        takeTest(metrics)
    }

    /// The best round on the test set.
    var bestOnTest: (accuracy: Double?, loss: Double) {
        bestTestLoss.map { (bestTestAccuracy, $0) } ?? (bestAccuracy, bestLoss)
    }

    /// Keeps what the best round is worth on the test set, where that is not what it was chosen by.
    mutating func takeTest(_ metrics: RoundMetrics) {
        guard metrics.chosenOn == .validation else { return }
        bestTestAccuracy = metrics.accuracy
        bestTestLoss = metrics.loss
    }

    /// Of the best round, on the set that is chosen by.
    var bestMerit: Merit { Merit(accuracy: bestAccuracy, loss: bestLoss) }
}

/// A finished round as it is written and found again.
struct Checkpoint: Sendable {
    var record: RoundRecord
    /// The weights file.
    var weights: [UInt8]
    /// State of the server's optimiser.
    var serverState: [String: [Double]]
    /// What stays with each client, as it is written.
    var clientState: Safetensors?
    /// How the round's attempts ended: nothing of the next round depends on it.
    var reports: [AttemptRecord] = []
    /// Files to be moved into the round's folder, by their new names.
    var moved: [(path: String, name: String)] = []

    var round: Int { record.metrics.round }
}

/// Writes and finds checkpoints. A round is there when its folder is: it is written beside and renamed. Files outside the
/// rounds' folders repeat what these hold, so that ``recover()`` can make them anew.
struct CheckpointStore: Sendable {
    let folder: RunFolder
    var storage = RunStorage()

    /// Saves a round. A process that ends at any moment in here leaves this round or the one before.
    func save(_ checkpoint: Checkpoint) throws {
        var record = checkpoint.record
        var files: [StoredFile] = []
        func write(_ bytes: [UInt8], as name: String, sha256: String? = nil, isSynchronized: Bool = true) throws {
            try storage.write(bytes, to: partial + "/" + name, isSynchronized: isSynchronized)
            files.append(StoredFile(path: name, sha256: sha256 ?? sha256Hex(bytes), byteCount: bytes.count))
        }
        let final = folder.round(checkpoint.round)
        let partial = final + ".partial"
        try storage.createDirectory(folder.rounds)
        try storage.remove(partial)
        try storage.createDirectory(partial)
        try write(checkpoint.weights, as: "weights.safetensors", sha256: record.metrics.weightsSHA256)
        if !checkpoint.serverState.isEmpty {
            let tensors = checkpoint.serverState.sorted { $0.key < $1.key }
                .map { (name: $0.key, tensor: Tensor(shape: [$0.value.count], doubles: $0.value)) }
            try write(Safetensors(tensors: tensors).encoded(), as: "server.safetensors")
        }
        if let state = checkpoint.clientState { try write(state.encoded(), as: RunFolder.clientStateName) }
        if !checkpoint.reports.isEmpty {
            let lines = try checkpoint.reports.flatMap { try RunJSON.encodeLine($0) }
            try write(lines, as: RunFolder.reportsName, isSynchronized: false)
        }
        for file in checkpoint.moved {
            let path = partial + "/" + file.name
            try storage.rename(file.path, to: path)
            files.append(
                StoredFile(
                    path: file.name, sha256: try Safetensors.digestOfContents(of: path),
                    byteCount: Files.size(of: path) ?? 0))
        }
        record.files = files
        record.recordSHA256 = Seal.open
        try storage.write(
            Seal.closed(try RunJSON.encode(record)), to: partial + "/round.json", isSynchronized: true)
        try storage.synchronizeFolder(partial)
        try storage.rename(partial, to: final)
        try storage.synchronizeFolder(folder.rounds)

        try storage.link(folder.weights(round: checkpoint.round), as: folder.model)
        if checkpoint.record.bestRound == checkpoint.round {
            try storage.link(folder.weights(round: checkpoint.round), as: folder.best)
        }
        try storage.append(try RunJSON.encodeLine(checkpoint.record.metrics), to: folder.metrics)
    }

    /// The last finished round, `nil` when there is none; removes what unfinished ones have left and puts everything
    /// that repeats the rounds' folders in order.
    func recover() throws -> Checkpoint? {
        for name in try Files.names(in: folder.path) where name.hasSuffix(".tmp") {
            try storage.remove(folder.path + "/" + name)
        }
        guard Files.isDirectory(folder.rounds) else { return nil }
        var finished: [Int] = []
        for name in try Files.names(in: folder.rounds) {
            if name.hasSuffix(".partial") {
                try storage.remove(folder.rounds + "/" + name)
            } else if let round = Int(name), RunFolder.padded(round) == name {
                finished.append(round)
            }
        }
        finished.sort()
        guard let last = finished.last else { return nil }
        guard finished == Array(0...last) else {
            let missing = (0...last).first { !finished.contains($0) } ?? 0
            throw DeMLError(
                .missing, "round \(missing) is missing though round \(last) is there", place: folder.rounds,
                hint: "remove the rounds after it to go on from the one before")
        }
        let records = try folder.checkedRecords(upTo: last)
        let record = records[last]
        let weights = try Files.read(folder.weights(round: last), maximumBytes: 64 << 30)
        var state: [String: [Double]] = [:]
        if Files.exists(folder.serverState(round: last)) {
            for (name, tensor) in try Safetensors(contentsOf: folder.serverState(round: last)).tensors {
                state[name] = try tensor.doubles()
            }
        }
        try repair(records)
        return Checkpoint(
            record: record, weights: weights, serverState: state, clientState: try clientState(round: last))
    }

    /// Removes the rounds from this one on, as if they had not been made. `metrics.jsonl` and the models are put in order
    /// by ``recover()``, which a crash in here leads to as well.
    func remove(from round: Int) throws {
        for name in try Files.names(in: folder.rounds).reversed() {
            guard let number = Int(name), number >= round else { continue }
            try storage.remove(folder.round(number))
        }
        try storage.synchronizeFolder(folder.rounds)
    }

    private func repair(_ records: [RoundRecord]) throws {
        guard let record = records.last else { return }
        let lines = try records.flatMap { try RunJSON.encodeLine($0.metrics) }
        if (try? Files.read(folder.metrics, maximumBytes: 1 << 30)) != lines {
            try storage.replace(folder.metrics, with: lines)
        }
        try storage.link(folder.weights(round: record.metrics.round), as: folder.model)
        try storage.link(folder.weights(round: record.bestRound), as: folder.best)
    }
}

extension Tensor {
    /// The values of an F64 tensor.
    func doubles() throws(DeMLError) -> [Double] {
        guard dtype == .f64 else { throw DeMLError(.dtype, "the tensor is \(dtype.rawValue), but F64 was expected") }
        return withUnsafeBytes { bytes in
            (0..<count).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
        }
    }
}
