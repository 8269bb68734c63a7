import Fleets
import NeuralNetwork

/// What a finished round came to: a line of `metrics.jsonl`, and `round.json` in the round's folder.
public struct RoundMetrics: Sendable, Equatable, Codable {
    /// From 1; 0 is the untrained model.
    public var round: Int
    /// On the test set, after averaging.
    public var loss: Double
    /// On the test set, between 0 and 1; absent for regression.
    public var accuracy: Double?
    /// Wall-clock seconds of the round, evaluation included.
    public var seconds: Double
    /// Of which evaluation.
    public var evaluationSeconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    /// What the fleet has cost during this round; absent where work is free.
    public var costGLM: Double?
    /// Clients that were asked, in order, and how many of them are part of the average.
    public var clients: Int
    public var answers: Int
    /// Attempts that gave nothing.
    public var failures: Int
    /// Training examples that the average rests on.
    public var examples: Int
    /// Mean training loss and accuracy of the last local epoch, weighted by examples.
    public var trainLoss: Double?
    public var trainAccuracy: Double?
    /// Euclidean norm of the averaged delta.
    public var updateNorm: Double?
    /// SHA-256 of the weights file that came out.
    public var weightsSHA256: String
    /// All measures of the model on the test set, without what there is of each class; absent in runs of older versions.
    public var metrics: Metrics?
    /// On the validation set, where there is one.
    public var validationLoss: Double?
    public var validationAccuracy: Double?

    public init(
        round: Int, loss: Double, accuracy: Double?, seconds: Double, evaluationSeconds: Double = 0, bytesUp: Int = 0,
        bytesDown: Int = 0, costGLM: Double? = nil, clients: Int = 0, answers: Int = 0, failures: Int = 0,
        examples: Int = 0, trainLoss: Double? = nil, trainAccuracy: Double? = nil, updateNorm: Double? = nil,
        weightsSHA256: String = "", metrics: Metrics? = nil, validationLoss: Double? = nil,
        validationAccuracy: Double? = nil
    ) {
        self.round = round
        self.loss = loss
        self.accuracy = accuracy
        self.seconds = seconds
        self.evaluationSeconds = evaluationSeconds
        self.bytesUp = bytesUp
        self.bytesDown = bytesDown
        self.costGLM = costGLM
        self.clients = clients
        self.answers = answers
        self.failures = failures
        self.examples = examples
        self.trainLoss = trainLoss
        self.trainAccuracy = trainAccuracy
        self.updateNorm = updateNorm
        self.weightsSHA256 = weightsSHA256
        self.metrics = metrics
        self.validationLoss = validationLoss
        self.validationAccuracy = validationAccuracy
    }

    /// The set that the best model is chosen by.
    public var chosenOn: ChosenOn { validationLoss == nil ? .test : .validation }

    /// What the round is worth on that set.
    var chosenBy: (accuracy: Double?, loss: Double) {
        validationLoss.map { (validationAccuracy, $0) } ?? (accuracy, loss)
    }

    enum CodingKeys: String, CodingKey {
        case round, loss, accuracy, seconds, clients, answers, failures, examples, metrics
        case evaluationSeconds = "evaluation_seconds"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case trainLoss = "train_loss"
        case trainAccuracy = "train_accuracy"
        case updateNorm = "update_norm"
        case validationLoss = "validation_loss"
        case validationAccuracy = "validation_accuracy"
        case weightsSHA256 = "weights_sha256"
    }
}

/// A set of examples that models are chosen by.
public enum ChosenOn: String, Sendable, Codable {
    case test, validation
}

/// What one provider did over the whole run.
public struct WorkerTotals: Sendable, Equatable, Codable {
    public var provider: Provider
    /// Answers that were averaged, and attempts that gave nothing.
    public var tasks: Int
    public var failures: Int
    /// Examples trained on, epochs counted.
    public var examples: Int
    /// Seconds from taking an assignment to its verified answer, summed.
    public var seconds: Double
    /// Examples a second while training, as the reports tell it, averaged over the tasks.
    public var samplesPerSecond: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double?

    public init(provider: Provider) {
        self.provider = provider
        tasks = 0
        failures = 0
        examples = 0
        seconds = 0
        samplesPerSecond = 0
        bytesUp = 0
        bytesDown = 0
    }

    enum CodingKeys: String, CodingKey {
        case provider, tasks, failures, examples, seconds
        case samplesPerSecond = "samples_per_second"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
    }
}

/// The same model trained without a federation, for the comparison.
public struct ReferenceResult: Sendable, Equatable, Codable {
    /// On the test set; accuracy is absent for regression.
    public var accuracy: Double?
    public var loss: Double
    /// Seconds of training, evaluation not included.
    public var seconds: Double
    /// Passes over its examples, and how many those are.
    public var passes: Int
    public var examples: Int
    /// The test result after each pass, where it was taken.
    public var curve: [CurvePoint]

    public struct CurvePoint: Sendable, Equatable, Codable {
        public var pass: Int
        public var accuracy: Double?
        public var loss: Double

        public init(pass: Int, accuracy: Double?, loss: Double) {
            self.pass = pass
            self.accuracy = accuracy
            self.loss = loss
        }
    }

    public init(
        accuracy: Double?, loss: Double, seconds: Double, passes: Int, examples: Int, curve: [CurvePoint] = []
    ) {
        self.accuracy = accuracy
        self.loss = loss
        self.seconds = seconds
        self.passes = passes
        self.examples = examples
        self.curve = curve
    }
}

/// What the idea is about: many machines against one, and against one that has only its own data.
public struct Comparison: Sendable, Equatable, Codable {
    /// Trained on all data with the same number of passes.
    public var onePlace: ReferenceResult?
    /// Trained on the first shard alone with the same number of passes.
    public var oneShard: ReferenceResult?

    public init(onePlace: ReferenceResult? = nil, oneShard: ReferenceResult? = nil) {
        self.onePlace = onePlace
        self.oneShard = oneShard
    }

    enum CodingKeys: String, CodingKey {
        case onePlace = "one_place"
        case oneShard = "one_shard"
    }
}

/// `summary.json`: how the run ended.
public struct Summary: Sendable, Equatable, Codable {
    /// Of the last model, on the test set, between 0 and 1; absent for regression.
    public var accuracy: Double?
    public var loss: Double
    /// Rounds that were done.
    public var rounds: Int
    /// Wall-clock seconds of all rounds, without the comparison; over all parts of a run that was resumed.
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    /// 0 where work is free.
    public var costGLM: Double
    /// SHA-256 of `model.safetensors`.
    public var modelSHA256: String
    /// Round of `best.safetensors`, and its accuracy and loss on the test set.
    public var bestRound: Int
    public var bestAccuracy: Double?
    public var bestLoss: Double
    public var comparison: Comparison?
    public var workers: [WorkerTotals]
    /// Attempts that gave nothing, in all rounds.
    public var failures: Int
    /// One entry a contract, where machines were rented.
    public var agreements: [AgreementExpense]
    /// Rows: true class, columns: predicted class, on the test set; absent for regression.
    public var confusion: [[Int]]?
    /// Rows: shards, columns: classes; absent for regression.
    public var labelCounts: [[Int]]?
    public var parameters: Int
    public var fleet: String
    /// All measures of the last model on the test set, of each class too; absent in runs of older versions.
    public var metrics: Metrics?
    /// What the best round was chosen by, and why there were no more rounds; absent in runs of older versions.
    public var chosenOn: ChosenOn?
    public var endedBy: Ending?
    /// The best round on the validation set, where it was chosen by that.
    public var bestValidationAccuracy: Double?
    public var bestValidationLoss: Double?

    public enum Ending: String, Sendable, Codable {
        case rounds, patience
        case targetAccuracy = "target_accuracy"
    }
    /// What was checked; absent where audits were off, and in the summaries of older versions.
    public var audits: AuditTotals?
    /// Wall-clock seconds of everything: reading the data, cutting it, waiting for machines, all rounds, the comparison,
    /// settling the bills; absent in the summaries of older versions. Of the earlier parts of a run that was resumed only
    /// the rounds are in it.
    public var wallSeconds: Double?
    /// Of which the comparison.
    public var comparisonSeconds: Double?

    public init(
        accuracy: Double?, loss: Double, rounds: Int, seconds: Double, bytesUp: Int, bytesDown: Int, costGLM: Double,
        modelSHA256: String, bestRound: Int, bestAccuracy: Double?, bestLoss: Double, comparison: Comparison?,
        workers: [WorkerTotals], failures: Int, agreements: [AgreementExpense], confusion: [[Int]]?,
        labelCounts: [[Int]]?, parameters: Int, fleet: String, metrics: Metrics? = nil,
        chosenOn: ChosenOn? = nil, bestValidationAccuracy: Double? = nil, bestValidationLoss: Double? = nil,
        endedBy: Ending? = nil, audits: AuditTotals? = nil
    ) {
        self.audits = audits
        self.accuracy = accuracy
        self.loss = loss
        self.rounds = rounds
        self.seconds = seconds
        self.bytesUp = bytesUp
        self.bytesDown = bytesDown
        self.costGLM = costGLM
        self.modelSHA256 = modelSHA256
        self.bestRound = bestRound
        self.bestAccuracy = bestAccuracy
        self.bestLoss = bestLoss
        self.comparison = comparison
        self.workers = workers
        self.failures = failures
        self.agreements = agreements
        self.confusion = confusion
        self.labelCounts = labelCounts
        self.parameters = parameters
        self.fleet = fleet
        self.metrics = metrics
        self.chosenOn = chosenOn
        self.bestValidationAccuracy = bestValidationAccuracy
        self.bestValidationLoss = bestValidationLoss
        self.endedBy = endedBy
    }

    enum CodingKeys: String, CodingKey {
        case accuracy, loss, rounds, seconds, comparison, workers, failures, agreements, confusion, parameters, fleet
        case metrics
        case chosenOn = "chosen_on"
        case endedBy = "ended_by"
        case bestValidationAccuracy = "best_validation_accuracy"
        case bestValidationLoss = "best_validation_loss"
        case audits
        case wallSeconds = "wall_seconds"
        case comparisonSeconds = "comparison_seconds"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case modelSHA256 = "model_sha256"
        case bestRound = "best_round"
        case bestAccuracy = "best_accuracy"
        case bestLoss = "best_loss"
        case labelCounts = "label_counts"
    }
}
