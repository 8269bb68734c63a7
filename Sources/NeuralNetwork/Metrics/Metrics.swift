/// How well a model does on examples it is not trained on, in the measures of the field. Names, averages and corner cases
/// are scikit-learn's; a measure that has no value there (NaN, or an error) is nil here, and null in JSON.
///
/// Classifiers are measured by their probabilities as single-precision numbers: a file of `deml predict` holds the very
/// numbers, so that anybody can compute a measure again.
public enum Metrics: Sendable, Equatable {
    case classification(ClassificationMetrics)
    case regression(RegressionMetrics)

    public var classification: ClassificationMetrics? {
        if case .classification(let metrics) = self { metrics } else { nil }
    }

    public var regression: RegressionMetrics? {
        if case .regression(let metrics) = self { metrics } else { nil }
    }

    /// The same without what there is of each class or output, and without points to draw: a line of a journal.
    public var overall: Metrics {
        switch self {
        case .classification(var metrics):
            metrics.classes = []
            return .classification(metrics)
        case .regression(var metrics):
            metrics.outputs = []
            return .regression(metrics)
        }
    }

    /// Every overall measure by its key in JSON, in the order in which they are shown.
    public var figures: [(key: String, value: Double?)] {
        switch self {
        case .classification(let metrics): metrics.figures
        case .regression(let metrics): metrics.figures
        }
    }
}

/// Of a classifier. Shares are between 0 and 1.
public struct ClassificationMetrics: Sendable, Equatable {
    /// Share of the examples whose class is the first of the most probable ones.
    public var accuracy: Double
    /// The k of `topKAccuracy`: 5, fewer where there are fewer than six classes; nil for fewer than three classes.
    public var topK: Int?
    /// Share of the examples whose class is among the k most probable ones (top_k_accuracy_score: of classes that are
    /// equally probable the later goes first).
    public var topKAccuracy: Double?
    /// Mean recall of the classes that occur (balanced_accuracy_score).
    public var balancedAccuracy: Double
    /// Means over the classes that occur or are predicted; what would be divided by zero is 0
    /// (precision_recall_fscore_support with average="macro").
    public var precision: Double
    public var recall: Double
    public var f1: Double
    /// Area under the receiver operating characteristic: of class 1 where there are two classes, else the mean over the
    /// classes, each against the rest (roc_auc_score with multi_class="ovr"). Nil where a class does not occur or is the
    /// only one, and where there are too many scores to be ranked (``ClassificationCounter/mostScores``).
    public var rocAUC: Double?
    /// Mean of -log p(class), with p held between 2.2e-16 and 1-2.2e-16 (log_loss of double-precision probabilities).
    public var logLoss: Double
    /// Expected calibration error: 15 bins of equal width, closed on the right, of the highest probability; the mean
    /// distance of accuracy and confidence, weighted by examples (Guo, Pleiss, Sun, Weinberger, "On calibration of modern
    /// neural networks", 2017; the bins of scikit-learn's calibration_curve).
    public var calibrationError: Double
    /// A row a class; empty where only the whole is told.
    public var classes: [ClassMetrics]

    package var figures: [(key: String, value: Double?)] {
        [("accuracy", accuracy)] + (topK == nil ? [] : [("top_k_accuracy", topKAccuracy)])
            + [
                ("balanced_accuracy", balancedAccuracy), ("precision", precision), ("recall", recall), ("f1", f1),
                ("roc_auc", rocAUC), ("log_loss", logLoss), ("calibration_error", calibrationError),
            ]
    }
}

/// Of one class of a classifier, against the rest.
public struct ClassMetrics: Sendable, Equatable {
    /// Examples of the class.
    public var support: Int
    /// Examples taken for it.
    public var predicted: Int
    /// Nil where the class neither occurs nor is predicted; else what would be divided by zero is 0.
    public var precision: Double?
    public var recall: Double?
    public var f1: Double?
    /// Nil where the class does not occur, or no other.
    public var rocAUC: Double?

    public init(
        support: Int, predicted: Int, precision: Double?, recall: Double?, f1: Double?, rocAUC: Double?
    ) {
        self.support = support
        self.predicted = predicted
        self.precision = precision
        self.recall = recall
        self.f1 = f1
        self.rocAUC = rocAUC
    }
}

/// Of a model that predicts numbers; over several outputs means, each output with the same weight (multioutput=
/// "uniform_average").
public struct RegressionMetrics: Sendable, Equatable {
    /// Mean squared error, its root (of each output, then averaged), mean absolute error: in the units of the target.
    public var mse: Double
    public var rmse: Double
    public var mae: Double
    /// Coefficient of determination: 1 is perfect, 0 as good as the mean (r2_score: for a target that is the same
    /// everywhere 1 or 0). Nil for a single example.
    public var r2: Double?
    /// A row an output; empty where only the whole is told.
    public var outputs: [OutputMetrics]

    public init(mse: Double, rmse: Double, mae: Double, r2: Double?, outputs: [OutputMetrics] = []) {
        self.mse = mse
        self.rmse = rmse
        self.mae = mae
        self.r2 = r2
        self.outputs = outputs
    }

    package var figures: [(key: String, value: Double?)] {
        [("mse", mse), ("rmse", rmse), ("mae", mae), ("r2", r2)]
    }
}

/// Of one output of a model that predicts numbers.
public struct OutputMetrics: Sendable, Equatable {
    public var mse: Double
    public var rmse: Double
    public var mae: Double
    public var r2: Double?
    /// Some examples in equal distances, for a plot; of the first outputs only.
    public var points: [Point]

    public init(mse: Double, rmse: Double, mae: Double, r2: Double?, points: [Point] = []) {
        self.mse = mse
        self.rmse = rmse
        self.mae = mae
        self.r2 = r2
        self.points = points
    }

    /// What was to be predicted, and what was.
    public struct Point: Sendable, Equatable {
        public var target: Float
        public var predicted: Float

        public init(target: Float, predicted: Float) {
            self.target = target
            self.predicted = predicted
        }
    }
}

// MARK: - JSON

/// One flat object; a measure without value is null.
extension Metrics: Codable {
    private enum Kind: String, CodingKey { case mse }

    public init(from decoder: any Decoder) throws {
        if try decoder.container(keyedBy: Kind.self).contains(.mse) {
            self = .regression(try RegressionMetrics(from: decoder))
        } else {
            self = .classification(try ClassificationMetrics(from: decoder))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .classification(let metrics): try metrics.encode(to: encoder)
        case .regression(let metrics): try metrics.encode(to: encoder)
        }
    }
}

extension ClassificationMetrics: Codable {
    enum CodingKeys: String, CodingKey {
        case accuracy, precision, recall, f1, classes
        case topK = "top_k"
        case topKAccuracy = "top_k_accuracy"
        case balancedAccuracy = "balanced_accuracy"
        case rocAUC = "roc_auc"
        case logLoss = "log_loss"
        case calibrationError = "calibration_error"
    }

    public init(from decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: CodingKeys.self)
        accuracy = try keys.decode(Double.self, forKey: .accuracy)
        topK = try keys.decodeIfPresent(Int.self, forKey: .topK)
        topKAccuracy = try keys.decodeIfPresent(Double.self, forKey: .topKAccuracy)
        balancedAccuracy = try keys.decode(Double.self, forKey: .balancedAccuracy)
        precision = try keys.decode(Double.self, forKey: .precision)
        recall = try keys.decode(Double.self, forKey: .recall)
        f1 = try keys.decode(Double.self, forKey: .f1)
        rocAUC = try keys.decodeIfPresent(Double.self, forKey: .rocAUC)
        logLoss = try keys.decode(Double.self, forKey: .logLoss)
        calibrationError = try keys.decode(Double.self, forKey: .calibrationError)
        classes = try keys.decodeIfPresent([ClassMetrics].self, forKey: .classes) ?? []
    }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(accuracy, forKey: .accuracy)
        if topK != nil {
            try keys.encode(topK, forKey: .topK)
            try keys.encode(topKAccuracy, forKey: .topKAccuracy)
        }
        try keys.encode(balancedAccuracy, forKey: .balancedAccuracy)
        try keys.encode(precision, forKey: .precision)
        try keys.encode(recall, forKey: .recall)
        try keys.encode(f1, forKey: .f1)
        try keys.encode(rocAUC, forKey: .rocAUC)
        try keys.encode(logLoss, forKey: .logLoss)
        try keys.encode(calibrationError, forKey: .calibrationError)
        if !classes.isEmpty { try keys.encode(classes, forKey: .classes) }
    }
}

extension ClassMetrics: Codable {
    enum CodingKeys: String, CodingKey {
        case support, predicted, precision, recall, f1
        case rocAUC = "roc_auc"
    }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(support, forKey: .support)
        try keys.encode(predicted, forKey: .predicted)
        try keys.encode(precision, forKey: .precision)
        try keys.encode(recall, forKey: .recall)
        try keys.encode(f1, forKey: .f1)
        try keys.encode(rocAUC, forKey: .rocAUC)
    }
}

extension RegressionMetrics: Codable {
    enum CodingKeys: String, CodingKey { case mse, rmse, mae, r2, outputs }

    public init(from decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: CodingKeys.self)
        mse = try keys.decode(Double.self, forKey: .mse)
        rmse = try keys.decode(Double.self, forKey: .rmse)
        mae = try keys.decode(Double.self, forKey: .mae)
        r2 = try keys.decodeIfPresent(Double.self, forKey: .r2)
        outputs = try keys.decodeIfPresent([OutputMetrics].self, forKey: .outputs) ?? []
    }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(mse, forKey: .mse)
        try keys.encode(rmse, forKey: .rmse)
        try keys.encode(mae, forKey: .mae)
        try keys.encode(r2, forKey: .r2)
        if !outputs.isEmpty { try keys.encode(outputs, forKey: .outputs) }
    }
}

extension OutputMetrics: Codable {
    enum CodingKeys: String, CodingKey { case mse, rmse, mae, r2, points }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: CodingKeys.self)
        try keys.encode(mse, forKey: .mse)
        try keys.encode(rmse, forKey: .rmse)
        try keys.encode(mae, forKey: .mae)
        try keys.encode(r2, forKey: .r2)
        try keys.encode(points, forKey: .points)
    }
}

/// `[target, predicted]`
extension OutputMetrics.Point: Codable {
    public init(from decoder: any Decoder) throws {
        var pair = try decoder.unkeyedContainer()
        target = try pair.decode(Float.self)
        predicted = try pair.decode(Float.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var pair = encoder.unkeyedContainer()
        try pair.encode(target)
        try pair.encode(predicted)
    }
}
