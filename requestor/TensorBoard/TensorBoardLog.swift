import Federation
import Foundation
import Tensors

/// A run's curves for TensorBoard, in `RUN/tensorboard`: `tensorboard --logdir runs` shows all runs.
///
/// To be told all events of the run, from its beginning: whenever a run is gone on with, the folder gets one new file with
/// everything from the first round on, in the place of the older one. Scalars by round: `test/…`, `validation/…`, `train/…`,
/// `round/…`; by pass: `comparison/one_place/…` and `comparison/one_shard/…`.
public final class TensorBoardLog {
    private let folder: String
    private var file: FileHandle?

    /// - Parameter folder: made with the first event.
    public init(folder: String) {
        self.folder = folder
    }

    deinit { try? file?.close() }

    /// Writes what the event has for a curve. Throws where the file cannot be written.
    public func handle(_ event: RunEvent) throws {
        let file = try file ?? open(at: event.time)
        self.file = file
        for record in Self.records(of: event) { try file.write(contentsOf: Data(record.framed)) }
    }

    private func open(at time: Date) throws -> FileHandle {
        try Files.createDirectory(folder)
        let older = try Files.names(in: folder).filter { $0.hasPrefix(Self.prefix) && $0.hasSuffix(Self.suffix) }
        // Readers go through the files in the order of their names.
        let seconds = older.compactMap { Int($0.dropFirst(Self.prefix.count).dropLast(Self.suffix.count)) }
        let number = max(Int(max(0, min(time.timeIntervalSince1970, 1e12))), (seconds.max() ?? 0).addingOne)
        let path = "\(folder)/\(Self.prefix)\(Self.padded(number))\(Self.suffix)"
        let start = time.timeIntervalSince1970
        let head = [EventRecord(wallTime: start, .fileVersion), EventRecord(wallTime: start, .sessionStart)]
        try Files.writeAtomically(head.flatMap(\.framed), to: path)
        for name in older { try Files.remove("\(folder)/\(name)") }
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seekToEnd()
        return file
    }

    private static let prefix = "events.out.tfevents."
    private static let suffix = ".deml"

    /// Ten digits at least, so that names sort as numbers do.
    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 10 - digits.count)) + digits
    }

    // MARK: What is drawn

    static func records(of event: RunEvent) -> [EventRecord] {
        let time = event.time.timeIntervalSince1970
        switch event.kind {
        case .runStarted(let run) where run.finishedRounds == 0:
            return record(time, 0, [("test/loss", run.loss), ("test/accuracy", run.accuracy)])
        case .roundFinished(let metrics):
            return record(time, metrics.round, scalars(of: metrics))
        case .comparisonFinished(let end):
            let tag = "comparison/" + end.reference.rawValue
            return end.result.curve.flatMap { point in
                record(time, point.pass, [(tag + "/loss", point.loss), (tag + "/accuracy", point.accuracy)])
            }
        default:
            return []
        }
    }

    private static func scalars(of round: RoundMetrics) -> [(String, Double?)] {
        var scalars: [(String, Double?)] = [("test/loss", round.loss), ("test/accuracy", round.accuracy)]
        for (key, value) in round.metrics?.figures ?? [] where key != "accuracy" {
            scalars.append(("test/" + key, value))
        }
        return scalars + [
            ("validation/loss", round.validationLoss), ("validation/accuracy", round.validationAccuracy),
            ("train/loss", round.trainLoss), ("train/accuracy", round.trainAccuracy),
            ("round/seconds", round.seconds), ("round/bytes_up", Double(round.bytesUp)),
            ("round/bytes_down", Double(round.bytesDown)), ("round/answers", Double(round.answers)),
            ("round/failures", Double(round.failures)), ("round/cost_glm", round.costGLM),
            ("round/update_norm", round.updateNorm),
        ]
    }

    /// Those that have a value.
    private static func record(_ time: Double, _ step: Int, _ values: [(String, Double?)]) -> [EventRecord] {
        let scalars = values.compactMap { tag, value in value.map { (tag: tag, value: Float($0)) } }
        return scalars.isEmpty ? [] : [EventRecord(wallTime: time, step: step, .scalars(scalars))]
    }
}

extension Int {
    fileprivate var addingOne: Int { self == .max ? self : self + 1 }
}
