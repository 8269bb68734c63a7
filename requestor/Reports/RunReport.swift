/// Everything that `report.html` shows, as plain values: no files, no clock, so that the same run gives the same bytes.
///
/// Accuracies are between 0 and 1 (not a number for a regression), times in seconds, sizes in bytes, cost in GLM.
public struct RunReport: Sendable, Equatable {
    /// What one round came to, measured on the test set.
    public struct Round: Sendable, Equatable {
        public var number: Int
        public var accuracy: Double
        public var loss: Double
        /// Mean loss of the workers' last local epoch, weighted by examples.
        public var trainLoss: Double?
        public var seconds: Double
        public var bytesUp: Int
        public var bytesDown: Int
        public var cost: Double?
        /// Clients whose delta counted, and attempts that failed.
        public var clients: Int
        public var failures: Int
        /// On the validation set, where there is one: the best round is then chosen by it.
        public var validationAccuracy: Double?
        public var validationLoss: Double?

        public init(
            number: Int, accuracy: Double, loss: Double, trainLoss: Double? = nil, seconds: Double, bytesUp: Int = 0,
            bytesDown: Int = 0, cost: Double? = nil, clients: Int = 0, failures: Int = 0,
            validationAccuracy: Double? = nil, validationLoss: Double? = nil
        ) {
            self.number = number
            self.accuracy = accuracy
            self.loss = loss
            self.trainLoss = trainLoss
            self.seconds = seconds
            self.bytesUp = bytesUp
            self.bytesDown = bytesDown
            self.cost = cost
            self.clients = clients
            self.failures = failures
            self.validationAccuracy = validationAccuracy
            self.validationLoss = validationLoss
        }

        /// What it is chosen by.
        var chosenBy: (accuracy: Double, loss: Double) {
            validationLoss.map { (validationAccuracy ?? .nan, $0) } ?? (accuracy, loss)
        }
    }

    /// One worker over the whole run.
    public struct Worker: Sendable, Equatable {
        public var name: String
        public var tasks: Int
        public var failures: Int
        public var examples: Int
        public var seconds: Double
        public var samplesPerSecond: Double?
        public var bytesUp: Int
        public var bytesDown: Int
        public var cost: Double?

        public init(
            name: String, tasks: Int, failures: Int = 0, examples: Int, seconds: Double,
            samplesPerSecond: Double? = nil, bytesUp: Int = 0, bytesDown: Int = 0, cost: Double? = nil
        ) {
            self.name = name
            self.tasks = tasks
            self.failures = failures
            self.examples = examples
            self.seconds = seconds
            self.samplesPerSecond = samplesPerSecond
            self.bytesUp = bytesUp
            self.bytesDown = bytesDown
            self.cost = cost
        }
    }

    /// What was recomputed at home.
    public struct Audits: Sendable, Equatable {
        /// Of one provider.
        public struct Line: Sendable, Equatable {
            public var name: String
            public var answers: Int
            public var audited: Int
            public var mismatches: Int
            public var falseRefusals: Int

            public init(name: String, answers: Int, audited: Int, mismatches: Int, falseRefusals: Int) {
                self.name = name
                self.answers = answers
                self.audited = audited
                self.mismatches = mismatches
                self.falseRefusals = falseRefusals
            }
        }

        public var sentence: String
        public var providers: [Line]

        public init(sentence: String, providers: [Line]) {
            self.sentence = sentence
            self.providers = providers
        }
    }

    /// One way of training the model: federated, in one place, on one shard alone.
    public struct Place: Sendable, Equatable {
        public var name: String
        public var accuracy: Double
        public var loss: Double
        public var seconds: Double
        public var bytes: Int?
        public var cost: Double?
        /// What it reached on the way; `round` is the moment at which the federation has made as many passes.
        public var curve: [CurvePoint]

        public init(
            name: String, accuracy: Double, loss: Double, seconds: Double, bytes: Int? = nil, cost: Double? = nil,
            curve: [CurvePoint] = []
        ) {
            self.name = name
            self.accuracy = accuracy
            self.loss = loss
            self.seconds = seconds
            self.bytes = bytes
            self.cost = cost
            self.curve = curve
        }
    }

    /// A point of a curve over rounds.
    public struct CurvePoint: Sendable, Equatable {
        public var round: Double
        public var accuracy: Double
        public var loss: Double

        public init(round: Double, accuracy: Double, loss: Double) {
            self.round = round
            self.accuracy = accuracy
            self.loss = loss
        }
    }

    /// A line of the list of settings.
    public struct Setting: Sendable, Equatable {
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public var title: String
    /// One sentence under the title: model, fleet, dataset.
    public var subtitle: String
    public var rounds: [Round]
    public var workers: [Worker]
    /// The federated model first.
    public var places: [Place]
    /// Names of the classes, in the order of the columns of `labelCounts` and `confusion`. Empty for regression.
    public var classes: [String]
    /// Examples of each class in each shard, `[shards][classes]`.
    public var labelCounts: [[Int]]
    /// Test examples by true class (rows) and predicted class (columns), `[classes][classes]`.
    public var confusion: [[Int]]
    /// What failed on the way, a line each.
    public var failures: [String]
    public var settings: [Setting]
    public var modelSHA256: String
    /// How good the last model is on the test set; `nil` while that is not known.
    public var measures: Measures?
    public var audits: Audits?

    public init(
        title: String, subtitle: String = "", rounds: [Round], workers: [Worker] = [], places: [Place] = [],
        classes: [String] = [], labelCounts: [[Int]] = [], confusion: [[Int]] = [], failures: [String] = [],
        settings: [Setting] = [], modelSHA256: String = "", measures: Measures? = nil,
        audits: Audits? = nil
    ) {
        self.audits = audits
        self.title = title
        self.subtitle = subtitle
        self.rounds = rounds
        self.workers = workers
        self.places = places
        self.classes = classes
        self.labelCounts = labelCounts
        self.confusion = confusion
        self.failures = failures
        self.settings = settings
        self.modelSHA256 = modelSHA256
        self.measures = measures
    }

    /// The round with the best accuracy on the validation set (the test set where there is none), and of those the lowest loss; where there is no accuracy, the lowest loss; of
    /// equals the first. What is not a number never wins; `nil` when nothing else is there.
    public var best: Round? {
        var best: Round?
        for round in rounds where !round.chosenBy.loss.isNaN && (best.map { Self.isBetter(round, than: $0) } ?? true) {
            best = round
        }
        return best
    }

    /// The set that the best round is chosen by.
    public var chosenOn: String { rounds.contains { $0.validationLoss != nil } ? "validation set" : "test set" }

    private static func isBetter(_ first: Round, than second: Round) -> Bool {
        let (round, other) = (first.chosenBy, second.chosenBy)
        if round.accuracy.isNaN != other.accuracy.isNaN { return other.accuracy.isNaN }
        if !round.accuracy.isNaN, round.accuracy != other.accuracy { return round.accuracy > other.accuracy }
        return round.loss < other.loss
    }
}
