import NeuralNetwork
import Tensors

/// What a worker says about a job: a small JSON file beside the results, written by rename when they are complete.
///
/// A job leaves a receipt with the status `running` before it does anything else. A worker that ended with signal 9 and
/// left such a receipt was killed; one that left none never started (see ``explanation(exitCode:receipt:)``).
///
/// A receipt from a stranger is checked where it enters: ``check(for:examples:)``. What passes is finite, in range and
/// an answer to the job; nobody behind that border needs to be careful.
public struct Receipt: Sendable, Equatable {
    /// What became of the job, one case a kind of it.
    public enum Outcome: Sendable, Equatable {
        /// The job has begun and not come to an end.
        case running
        case trained(Training)
        case evaluated(Evaluation)
        case predicted(Prediction)
        /// Nothing is delivered, and why.
        case refused(Refusal)
    }

    /// Name of the job's kind: "train", "evaluate" or "predict".
    public var command: String
    /// Of the program that wrote the receipt.
    public var version: String
    /// Of the numeric contract of its kernels (see Sources/CKernels/README.md): two that agree in it give the same bytes.
    /// Nil in receipts of workers that did not tell it yet.
    public var kernels: Int?
    public var outcome: Outcome

    /// A receipt of this very program.
    public init(command: String, outcome: Outcome) {
        self.command = command
        self.outcome = outcome
        version = demlVersion
        kernels = kernelsVersion
    }

    /// Where and how fast the work was done.
    public struct Machine: Sendable, Equatable {
        /// Of the whole job, reading and writing included.
        public var seconds: Double
        /// Examples trained on (or evaluated) a second, without reading and writing.
        public var samplesPerSecond: Double
        public var threads: Int
        /// Instruction set of the kernels: portable, avx2, avx512 or neon.
        public var isa: String

        public init(seconds: Double, samplesPerSecond: Double, threads: Int, isa: String) {
            self.seconds = seconds
            self.samplesPerSecond = samplesPerSecond
            self.threads = threads
            self.isa = isa
        }
    }

    /// SHA-256 of files' bytes as stored; nil where the work was done without files.
    public struct Digests: Sendable, Equatable {
        public var weights: String?
        public var shard: String?
        /// Of the delta or the predictions; nil where the kind has no output.
        public var output: String?

        public init(weights: String? = nil, shard: String? = nil, output: String? = nil) {
            self.weights = weights
            self.shard = shard
            self.output = output
        }
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

    public struct Training: Sendable, Equatable {
        /// Examples in the shard.
        public var examples: Int
        /// Optimiser steps that were done.
        public var steps: Int
        /// Passes over the shard; the last may be a part of one, see `stoppedEarly`.
        public var epochs: [Epoch]
        /// Whether the time limit ended the training before the last step.
        public var stoppedEarly: Bool
        public var machine: Machine
        public var digests: Digests

        public init(
            examples: Int, steps: Int, epochs: [Epoch], stoppedEarly: Bool, machine: Machine,
            digests: Digests = Digests()
        ) {
            self.examples = examples
            self.steps = steps
            self.epochs = epochs
            self.stoppedEarly = stoppedEarly
            self.machine = machine
            self.digests = digests
        }

        /// Examples trained on, each epoch counted.
        public var trainedExamples: Int {
            let (product, overflow) = examples.multipliedReportingOverflow(by: epochs.count)
            return overflow ? .max : product
        }
    }

    public struct Evaluation: Sendable, Equatable {
        /// Examples in the shard.
        public var examples: Int
        /// Mean over the shard.
        public var loss: Double
        /// Share of right classes, between 0 and 1; nil for a regression.
        public var accuracy: Double?
        /// Row: true class, column: predicted class; empty for a regression.
        public var confusion: [[Int]]
        public var machine: Machine
        public var digests: Digests

        public init(
            examples: Int, loss: Double, accuracy: Double?, confusion: [[Int]], machine: Machine,
            digests: Digests = Digests()
        ) {
            self.examples = examples
            self.loss = loss
            self.accuracy = accuracy
            self.confusion = confusion
            self.machine = machine
            self.digests = digests
        }
    }

    public struct Prediction: Sendable, Equatable {
        /// Examples in the shard, and so predictions.
        public var examples: Int
        public var machine: Machine
        public var digests: Digests

        public init(examples: Int, machine: Machine, digests: Digests = Digests()) {
            self.examples = examples
            self.machine = machine
            self.digests = digests
        }
    }

    public struct Refusal: Sendable, Equatable {
        /// What was being done: arguments, write-report, read-weights, read-shard, train, evaluate, predict,
        /// write-delta, write-predictions.
        public var stage: String
        /// Kind of the error, as in ``Tensors/DeMLError/Code``.
        public var code: String?
        /// One sentence.
        public var message: String
        /// What to do about it.
        public var hint: String?
        /// The file that was being read or written.
        public var file: String?

        public init(stage: String, code: String? = nil, message: String, hint: String? = nil, file: String? = nil) {
            self.stage = stage
            self.code = code
            self.message = message
            self.hint = hint
            self.file = file
        }

        public init(stage: Stage, error: DeMLError) {
            self.init(
                stage: stage.name, code: error.code.rawValue, message: error.message(without: stage.file),
                hint: error.hint, file: stage.file)
        }
    }
}

/// What a worker is doing, for the receipt of a failure.
public struct Stage: Sendable, Equatable {
    public var name: String
    /// The file that is being read or written.
    public var file: String?

    public init(_ name: String, file: String? = nil) {
        self.name = name
        self.file = file
    }
}

extension Receipt.Refusal {
    /// Whether another machine may well do the job that this one refuses: a disk that is full or fails, a file that cannot
    /// be made, or an input that is not the one that was sent, and so was damaged on its way here.
    public func isOfThisMachine(exitCode: Int?) -> Bool {
        if exitCode == 73 || exitCode == 74 { return true }
        switch code.map(DeMLError.Code.init(rawValue:)) {
        case .diskFull?, .io?, .cannotCreate?, .permission?, .notFound?: return true
        case .mismatch?: return stage.hasPrefix("read-")
        default: return false
        }
    }
}

extension Receipt {
    /// The receipt of a job that failed.
    public init(command: String, stage: Stage, error: DeMLError) {
        self.init(command: command, outcome: .refused(Refusal(stage: stage, error: error)))
    }

    public var isRunning: Bool { outcome == .running }

    public var training: Training? {
        if case .trained(let training) = outcome { training } else { nil }
    }

    public var evaluation: Evaluation? {
        if case .evaluated(let evaluation) = outcome { evaluation } else { nil }
    }

    public var prediction: Prediction? {
        if case .predicted(let prediction) = outcome { prediction } else { nil }
    }

    public var refusal: Refusal? {
        if case .refused(let refusal) = outcome { refusal } else { nil }
    }

    /// Where and how fast the work was done, whatever it was; nil where none was.
    public var machine: Machine? {
        switch outcome {
        case .trained(let training): training.machine
        case .evaluated(let evaluation): evaluation.machine
        case .predicted(let prediction): prediction.machine
        case .running, .refused: nil
        }
    }

    public var digests: Digests? {
        switch outcome {
        case .trained(let training): training.digests
        case .evaluated(let evaluation): evaluation.digests
        case .predicted(let prediction): prediction.digests
        case .running, .refused: nil
        }
    }
}

// MARK: - Reading the signs

extension Receipt {
    /// One sentence on why a worker ended as it did, from its exit code and the receipt it left (nil: none).
    ///
    /// The Golem runtime reports a signal by its bare number, a shell by 128 more. The runtime answers 9 both when the
    /// process was killed and when it could not be started; the receipt tells these two apart, because a job begins by
    /// writing one.
    public static func explanation(exitCode: Int32, receipt: Receipt?) -> String {
        if let refusal = receipt?.refusal {
            return refusal.file.map { "\($0): \(refusal.message)" } ?? refusal.message
        }
        let hasBegun = receipt != nil
        switch exitCode {
        case 0 where receipt?.isRunning == false:
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
