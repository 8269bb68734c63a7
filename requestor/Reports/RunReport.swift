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
        public enum Kind: Sendable, Equatable {
            case federated, onePlace, oneShard

            /// Name of its colour.
            var colour: String {
                switch self {
                case .federated: "accent"
                case .onePlace: "other"
                case .oneShard: "third"
                }
            }
        }

        public var kind: Kind
        public var name: String
        public var accuracy: Double
        public var loss: Double
        public var seconds: Double
        public var bytes: Int?
        public var cost: Double?
        /// What it reached on the way; `round` is the moment at which the federation has made as many passes.
        public var curve: [CurvePoint]

        public init(
            _ kind: Kind, name: String, accuracy: Double, loss: Double, seconds: Double, bytes: Int? = nil,
            cost: Double? = nil, curve: [CurvePoint] = []
        ) {
            self.kind = kind
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

    /// A contract with a provider, and what became of its bill.
    public struct Agreement: Sendable, Equatable {
        public var provider: String
        public var id: String
        public var tasks: Int
        public var seconds: Double
        /// In GLM.
        public var billed: Double
        public var paid: Double
        /// "settled", "accepted", "rejected".
        public var state: String
        public var reason: String?

        public init(
            provider: String, id: String, tasks: Int, seconds: Double, billed: Double, paid: Double, state: String,
            reason: String? = nil
        ) {
            self.provider = provider
            self.id = id
            self.tasks = tasks
            self.seconds = seconds
            self.billed = billed
            self.paid = paid
            self.state = state
            self.reason = reason
        }
    }

    /// Something that was decided about the data when it was read.
    public struct Decision: Sendable, Equatable {
        public var subject: String
        public var text: String
        /// It may well be a mistake.
        public var isWarning: Bool

        public init(_ subject: String, _ text: String, isWarning: Bool = false) {
            self.subject = subject
            self.text = text
            self.isWarning = isWarning
        }
    }

    /// A test picture that the model was sure of and wrong about.
    public struct Mistake: Sendable, Equatable {
        /// Row of the test set, from 0.
        public var row: Int
        public var truth: Int
        public var predicted: Int
        /// What the model gave the wrong class, 0 to 1.
        public var probability: Double
        /// A PNG file in base64.
        public var png: String

        public init(row: Int, truth: Int, predicted: Int, probability: Double, png: String) {
            self.row = row
            self.truth = truth
            self.predicted = predicted
            self.probability = probability
            self.png = png
        }
    }

    /// A command that a reader may want to give next.
    public struct Command: Sendable, Equatable {
        public var purpose: String
        public var line: String

        public init(_ purpose: String, _ line: String) {
            self.purpose = purpose
            self.line = line
        }
    }

    /// The layers of the model, a row each.
    public struct Model: Sendable, Equatable {
        public var head: [String]
        public var rows: [[String]]
        public var note: String

        public init(head: [String], rows: [[String]], note: String) {
            self.head = head
            self.rows = rows
            self.note = note
        }
    }

    /// Where the time went, in seconds.
    public struct Times: Sendable, Equatable {
        /// From the command to the summary.
        public var whole: Double
        public var rounds: Double
        public var comparison: Double

        public init(whole: Double, rounds: Double, comparison: Double) {
            self.whole = whole
            self.rounds = rounds
            self.comparison = comparison
        }

        /// Reading the data, cutting it, waiting for machines, settling their bills.
        public var preparation: Double { max(0, whole - rounds - comparison) }
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

    /// Data, model and date.
    public var title: String
    /// A line under title and verdict: the run's name, its settings in short.
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
    /// The best round, by the one rule there is for that; `nil` while there is none.
    public var bestRound: Int?
    /// Why the rounds ended early, in few words: "no better for 5 rounds"; `nil` where all were done.
    public var stop: String?
    public var agreements: [Agreement]
    /// What the whole run has cost in GLM, where machines were rented.
    public var cost: Double?
    public var decisions: [Decision]
    /// The surest mistakes, for pictures.
    public var mistakes: [Mistake]
    public var commands: [Command]
    public var times: Times?
    /// The model's layers.
    public var model: Model?

    public init(
        title: String, subtitle: String = "", rounds: [Round], workers: [Worker] = [], places: [Place] = [],
        classes: [String] = [], labelCounts: [[Int]] = [], confusion: [[Int]] = [], failures: [String] = [],
        settings: [Setting] = [], modelSHA256: String = "", measures: Measures? = nil,
        audits: Audits? = nil, bestRound: Int? = nil, stop: String? = nil, agreements: [Agreement] = [],
        cost: Double? = nil, decisions: [Decision] = [], mistakes: [Mistake] = [], commands: [Command] = [],
        times: Times? = nil, model: Model? = nil
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
        self.bestRound = bestRound
        self.stop = stop
        self.agreements = agreements
        self.cost = cost
        self.decisions = decisions
        self.mistakes = mistakes
        self.commands = commands
        self.times = times
        self.model = model
    }

    public var best: Round? { bestRound.flatMap { number in rounds.last { $0.number == number } } }

    /// The set that the best round is chosen by.
    public var chosenOn: String { rounds.contains { $0.validationLoss != nil } ? "validation set" : "test set" }

    func place(_ kind: Place.Kind) -> Place? { places.first { $0.kind == kind } }

    func className(_ label: Int) -> String { classes.indices.contains(label) ? classes[label] : "\(label)" }
}
