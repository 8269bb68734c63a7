import NeuralNetwork
import Tensors

/// Something a worker is to do: what kind of work, with which options, on which inputs, and where its results go.
///
/// A job is a value. Its canonical JSON is what `deml-worker run` is given; the arguments of `deml-worker train …` make
/// the same value. Inputs are known by SHA-256, so that a machine can be asked what it already has, a worker refuses
/// files that are not those of its job, and two answers to one ``question`` can be compared.
public struct WorkerJob: Sendable, Equatable {
    /// What is to be done, with everything the result depends on beside the inputs.
    public enum Kind: Sendable, Equatable {
        /// Trains the model of the weights on a shard; the output is a ``Delta``.
        case train(TrainingOptions)
        /// Loss and accuracy of the weights on a shard; no output but the receipt.
        case evaluate
        /// What the model says to the inputs of a shard; the output is a predictions file.
        case predict(PredictionForm = .answers)

        /// Its name on the command line and in a job's JSON.
        public var name: String {
            switch self {
            case .train: "train"
            case .evaluate: "evaluate"
            case .predict: "predict"
            }
        }

        /// What predictions are; `answers` for another kind.
        public var form: PredictionForm {
            if case .predict(let form) = self { form } else { .answers }
        }

        /// What the output file is; nil where there is none.
        public var output: String? {
            switch self {
            case .train: "delta"
            case .evaluate: nil
            case .predict: "predictions"
            }
        }
    }

    /// What predictions are.
    public enum PredictionForm: Sendable, Equatable {
        /// What people ask for: probabilities where the loss knows them.
        case answers
        /// The bare outputs of the last layer: all that every measure, the loss too, can be taken of without the labels
        /// ever leaving home.
        case outputs
        /// The tokens that follow the shard's one row: of a model of text.
        case text(TextContinuation)

        /// Its name in a job's JSON.
        public var name: String {
            switch self {
            case .answers: "answers"
            case .outputs: "outputs"
            case .text: "text"
            }
        }

        /// The shape of what an example gives.
        public func shape(_ model: ModelDescription) -> [Int] {
            if case .text(let text) = self { [text.tokens] } else { model.outputShape }
        }
    }

    /// What an input is to the job.
    public enum Role: String, Sendable, Codable, CaseIterable {
        case weights, shard
    }

    /// A file that a worker reads.
    public struct Input: Sendable, Equatable {
        /// On the machine that works.
        public var path: String
        /// Of the bytes as stored; nil when a person names a file whose digest is not known beforehand.
        public var sha256: String?

        public init(path: String, sha256: String? = nil) {
            self.path = path
            self.sha256 = sha256
        }
    }

    /// What the work may take. No result depends on it, but that of a job with partial work.
    public struct Limits: Sendable, Equatable {
        /// Nil: as many as the machine has.
        public var threads: Int?
        /// From the beginning of the work. Nil: no limit.
        public var maxSeconds: Double?
        /// Whether a training that `maxSeconds` ends delivers the steps that it has done; otherwise it fails.
        public var allowsPartialWork: Bool

        public init(threads: Int? = nil, maxSeconds: Double? = nil, allowsPartialWork: Bool = false) {
            self.threads = threads
            self.maxSeconds = maxSeconds
            self.allowsPartialWork = allowsPartialWork
        }
    }

    /// Where a training says how far it is, and goes on from. No result depends on it.
    public struct State: Sendable, Equatable {
        /// A state to go on from, of a training of these inputs with these options: another is refused. Nil: from the
        /// weights.
        public var input: Input?
        /// A file that the training keeps up to date, and that it goes on from before all else where it finds one of its
        /// own, so that a job that was killed is done by doing it again. What is in the file otherwise, damaged or of
        /// another training, is replaced. Removed when the job is done. Nil: it is not written.
        public var output: String?
        /// Seconds from one writing to the next.
        public var interval: Double

        public init(input: Input? = nil, output: String?, interval: Double = standardInterval) {
            self.input = input
            self.output = output
            self.interval = interval
        }

        public static let standardInterval = 60.0
        /// Seconds that make sense.
        public static let intervals = 0.0...1e9
    }

    public var kind: Kind
    public var inputs: [Role: Input]
    /// Where the delta or the predictions go, compressed when the name ends in `.gz`; nil for a kind without output.
    public var output: String?
    /// Where the receipt goes.
    public var report: String
    public var limits: Limits
    /// Nil where a training is not to survive the end of its process.
    public var state: State?

    public init(
        _ kind: Kind, inputs: [Role: Input], output: String? = nil, report: String, limits: Limits = Limits(),
        state: State? = nil
    ) {
        self.kind = kind
        self.inputs = inputs
        self.output = output
        self.report = report
        self.limits = limits
        self.state = state
    }

    /// Options of a training; nil for another kind.
    public var training: TrainingOptions? {
        if case .train(let options) = kind { options } else { nil }
    }

    /// The input of that role. Throws `usage` when the job has none.
    public func input(_ role: Role) throws(DeMLError) -> Input {
        guard let input = inputs[role] else {
            throw DeMLError(.usage, "a job of the kind \(kind.name) needs an input '\(role.rawValue)'", place: "job")
        }
        return input
    }

    /// The path of the output. Throws `usage` when the job names none.
    public func outputPath() throws(DeMLError) -> String {
        guard let output else {
            throw DeMLError(.usage, "a job of the kind \(kind.name) needs an output", place: "job")
        }
        return output
    }

    /// Refuses a job that no worker can do: a missing file name, a digest that is none, limits out of range.
    public func validate() throws(DeMLError) {
        if case .train(let options) = kind { try options.validate() }
        if case .predict(.text(let text)) = kind { try text.validate() }
        for role in Role.allCases {
            try input(role).validate("the input '\(role.rawValue)'")
        }
        if kind.output != nil { _ = try outputPath() }
        if let threads = limits.threads, !Self.threads.contains(threads) {
            throw DeMLError(
                .outOfRange,
                "threads \(threads) is not between \(Self.threads.lowerBound) and \(Self.threads.upperBound)",
                place: "job")
        }
        if let seconds = limits.maxSeconds, !(seconds > 0 && seconds <= Receipt.maximumSeconds) {
            throw DeMLError(
                .outOfRange, "max_seconds \(seconds) is not above 0 and at most \(Receipt.maximumSeconds)", place: "job"
            )
        }
        if let state { try validate(state) }
    }

    private func validate(_ state: State) throws(DeMLError) {
        guard training != nil else {
            throw DeMLError(.usage, "a job of the kind \(kind.name) has no state", place: "job")
        }
        guard state.input != nil || state.output != nil else {
            throw DeMLError(.usage, "the job's state has neither input nor output", place: "job")
        }
        try state.input?.validate("the state's input")
        guard state.output?.isEmpty != true else {
            throw DeMLError(.usage, "the state's output has no file", place: "job")
        }
        guard State.intervals.contains(state.interval) else {
            throw DeMLError(.outOfRange, "every_seconds \(state.interval) is not between 0 and 1e9", place: "job")
        }
    }

    /// Threads that a worker may be asked to use.
    public static let threads = 1...1024
}

extension WorkerJob.Input {
    fileprivate func validate(_ name: String) throws(DeMLError) {
        guard !path.isEmpty else { throw DeMLError(.usage, "\(name) has no file", place: "job") }
        if let sha256, !sha256.isSHA256 {
            throw DeMLError(.malformed, "\(name) has \(sha256.quotedForMessage) for a SHA-256", place: "job")
        }
    }
}

extension String {
    /// Whether this is a SHA-256 as DeML writes it: 64 lowercase hexadecimal digits.
    package var isSHA256: Bool {
        utf8.count == 64 && utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
}
