import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a worker says about a task: a small JSON file beside the results, written by rename when they are complete.
///
/// A task writes a report with the status `running` before it does anything else. A worker that ended with signal 9 and
/// left such a report was killed; one that left no report never started (see ``explanation(exitCode:report:)``).
public struct Report: Codable, Sendable, Equatable {
    public enum Status: String, Codable, Sendable {
        /// Everything is done and delivered.
        case ok
        /// Nothing is delivered; `stage` and `message` say why.
        case error
        /// The task has begun and not come to an end.
        case running
    }

    /// One pass over the shard.
    public struct Epoch: Codable, Sendable, Equatable {
        /// Mean loss of the examples as they were trained on.
        public var loss: Double
        /// Between 0 and 1; nil for a regression.
        public var accuracy: Double?
        public var seconds: Double

        public init(loss: Double, accuracy: Double?, seconds: Double) {
            self.loss = loss
            self.accuracy = accuracy
            self.seconds = seconds
        }
    }

    public var status: Status
    /// "train", "evaluate" or "predict".
    public var command: String
    /// Of the program that wrote the report.
    public var version = demlVersion

    // How it went.

    /// Examples in the shard.
    public var examples: Int?
    /// Optimiser steps that were done.
    public var steps: Int?
    /// Passes over the shard; the last may be a part of one, see `stoppedEarly`.
    public var epochs: [Epoch]?
    /// Whether `--max-seconds` ended the training before the last step.
    public var stoppedEarly: Bool?
    /// Of the whole task, reading and writing included.
    public var seconds: Double?
    /// Examples trained on (or evaluated) a second, without reading and writing.
    public var samplesPerSecond: Double?
    /// Mean loss over the shard (evaluate).
    public var loss: Double?
    /// Share of right classes, between 0 and 1 (evaluate).
    public var accuracy: Double?
    /// Row: true class, column: predicted class (evaluate).
    public var confusion: [[Int]]?
    /// SHA-256 of the files' bytes as stored.
    public var weightsSHA256: String?
    public var shardSHA256: String?
    public var deltaSHA256: String?
    public var predictionsSHA256: String?
    public var threads: Int?
    /// Instruction set of the kernels: portable, avx2, avx512 or neon.
    public var isa: String?

    // Why it went wrong.

    /// What was being done: arguments, write-report, read-weights, read-shard, train, evaluate, predict, write-delta,
    /// write-predictions.
    public var stage: String?
    /// Kind of the error, as in ``Tensors/DeMLError/Code``.
    public var code: String?
    /// One sentence.
    public var message: String?
    /// What to do about it.
    public var hint: String?
    /// The file that was being read or written.
    public var file: String?

    public init(status: Status, command: String) {
        self.status = status
        self.command = command
    }

    /// The report of a task that failed.
    public init(command: String, stage: Stage, error: DeMLError) {
        self.init(status: .error, command: command)
        self.stage = stage.name
        code = error.code.rawValue
        message = error.message(without: stage.file)
        hint = error.hint
        file = stage.file
    }

    enum CodingKeys: String, CodingKey {
        case status, command, version, examples, steps, epochs, seconds, loss, accuracy, confusion, threads, isa
        case stage, code, message, hint, file
        case stoppedEarly = "stopped_early"
        case samplesPerSecond = "samples_per_second"
        case weightsSHA256 = "weights_sha256"
        case shardSHA256 = "shard_sha256"
        case deltaSHA256 = "delta_sha256"
        case predictionsSHA256 = "predictions_sha256"
    }
}

// MARK: - Files

extension Report {
    /// A report has no reason to be larger; one from a stranger may try.
    static let maximumBytes = 16 << 20

    /// Reads a report. Throws what ``Tensors/Files/read(_:maximumBytes:)`` throws, and `malformed`.
    public init(contentsOf path: String) throws(DeMLError) {
        let bytes = try Files.read(path, maximumBytes: Self.maximumBytes)
        do {
            self = try JSONDecoder().decode(Report.self, from: Data(bytes))
        } catch {
            throw DeMLError(.malformed, "it is no report of a worker", place: path, cause: error)
        }
    }

    /// Writes the report by rename.
    public func write(to path: String) throws(DeMLError) {
        try Files.writeAtomically(Array((try jsonText(self) + "\n").utf8), to: path)
    }
}

// MARK: - Reading the signs

extension Report {
    /// One sentence on why a worker ended as it did, from its exit code and the report it left (nil: none).
    ///
    /// The Golem runtime reports a signal by its bare number, a shell by 128 more. The runtime answers 9 both when the
    /// process was killed and when it could not be started; the report tells these two apart, because a task begins by
    /// writing one.
    public static func explanation(exitCode: Int32, report: Report?) -> String {
        if let report, report.status == .error, let message = report.message {
            return report.file.map { "\($0): \(message)" } ?? message
        }
        let hasBegun = report != nil
        switch exitCode {
        case 0 where report?.status == .ok:
            return "it ended well"
        case 0:
            return "it ended with 0 but left no complete report"
        case 9 where hasBegun, 137 where hasBegun:
            return "it was killed while it worked, most likely because the machine ran out of memory"
        case 9, 126, 127:
            return "it never started: the image has no such executable or no such working directory"
        case 137:
            return "it was killed before it began"
        case 4, 132:
            return "it stopped on a trap (SIGILL): a mistake in the worker"
        case 6, 134:
            return "it aborted (SIGABRT): a mistake in the worker, or no /proc in the guest"
        case 11, 139:
            return "it crashed (SIGSEGV): a mistake in the worker"
        case 64: return "it was called with wrong arguments (64)"
        case 65: return "it refused the data (65)"
        case 66: return "it could not open an input file (66)"
        case 70: return "it failed inside (70)"
        case 73: return "it could not create an output file (73)"
        case 74: return "it could not read or write a file (74)"
        case 1...31: return "it was ended by signal \(exitCode)"
        case 129...159: return "it was ended by signal \(exitCode - 128)"
        default: return "it ended with exit code \(exitCode)"
        }
    }
}

extension DeMLError {
    /// Message with its place, where the place is not just `file`.
    fileprivate func message(without file: String?) -> String {
        guard let place, place != file else { return message }
        if let file, place.hasPrefix(file + ": ") {
            return "\(place.dropFirst(file.count + 2)): \(message)"
        }
        return "\(place): \(message)"
    }
}
