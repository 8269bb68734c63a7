import Foundation
import NeuralNetwork
import Tensors
import Testing

/// Against scikit-learn. The numbers come from Tests/Reference/make_metrics.py; tolerance: 1e-9, relative above 1.
@Suite struct MetricsTests {
    struct Reference: Decodable {
        struct Classification: Decodable {
            var name: String
            var classes: Int
            var labels: [Int]
            var guesses: [Int]
            var probabilities: [Float]
            var expected: [String: Double?]
            var rows: [[String: Double?]]
        }

        struct Regression: Decodable {
            var name: String
            var outputs: Int
            var targets: [Float]
            var predictions: [Float]
            var expected: [String: Double?]
            var rows: [[String: Double?]]
        }

        var classification: [Classification]
        var regression: [Regression]

        static func read() throws -> Reference {
            let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            let file = folder.appending(path: "Reference/metrics.json")
            return try JSONDecoder().decode(Reference.self, from: Data(contentsOf: file))
        }
    }

    static func isSame(_ actual: Double?, _ expected: Double?) -> Bool {
        guard let actual, let expected else { return actual == nil && expected == nil }
        return abs(actual - expected) <= 1e-9 * max(1, abs(expected))
    }

    static func measured(_ set: Reference.Classification, mostScores: Int = ClassificationCounter.mostScores)
        -> ClassificationMetrics
    {
        var counter = ClassificationCounter(classes: set.classes, examples: set.labels.count, mostScores: mostScores)
        set.probabilities.withUnsafeBufferPointer { all in
            for row in set.labels.indices {
                counter.add(
                    label: set.labels[row], predicted: set.guesses[row],
                    probabilities: all.baseAddress! + row * set.classes)
            }
        }
        return counter.metrics()
    }

    @Test func classificationIsThatOfScikitLearn() throws {
        let sets = try Reference.read().classification
        #expect(sets.count >= 10)
        for set in sets {
            let metrics = Self.measured(set)
            let figures = Dictionary(uniqueKeysWithValues: metrics.figures.map { ($0.key, $0.value) })
            for (key, expected) in set.expected {
                let actual = figures[key] ?? nil
                #expect(
                    Self.isSame(actual, expected), "\(set.name): \(key) is \(actual as Any), not \(expected as Any)")
            }
            for (index, row) in set.rows.enumerated() {
                let actual = metrics.classes[index]
                let place = "\(set.name), class \(index)"
                #expect(actual.support == Int(row["support"]!!), "\(place)")
                #expect(Self.isSame(actual.precision, row["precision"]!), "\(place): precision")
                #expect(Self.isSame(actual.recall, row["recall"]!), "\(place): recall")
                #expect(Self.isSame(actual.f1, row["f1"]!), "\(place): f1")
                #expect(Self.isSame(actual.rocAUC, row["roc_auc"]!), "\(place): AUC")
            }
        }
    }

    @Test func regressionIsThatOfScikitLearn() throws {
        let sets = try Reference.read().regression
        #expect(sets.count >= 5)
        for set in sets {
            let count = set.targets.count / set.outputs
            var counter = RegressionCounter(outputs: set.outputs, examples: count)
            set.targets.withUnsafeBufferPointer { targets in
                set.predictions.withUnsafeBufferPointer { predictions in
                    for row in 0..<count {
                        counter.add(
                            targets: targets.baseAddress! + row * set.outputs,
                            predicted: predictions.baseAddress! + row * set.outputs)
                    }
                }
            }
            let metrics = counter.metrics()
            for (key, actual) in metrics.figures {
                #expect(Self.isSame(actual, set.expected[key]!), "\(set.name): \(key) is \(actual as Any)")
            }
            for (index, row) in set.rows.enumerated() {
                #expect(Self.isSame(metrics.outputs[index].mse, row["mse"]!), "\(set.name), output \(index)")
                #expect(Self.isSame(metrics.outputs[index].mae, row["mae"]!), "\(set.name), output \(index)")
                #expect(Self.isSame(metrics.outputs[index].r2, row["r2"]!), "\(set.name), output \(index)")
            }
        }
    }

    /// Nothing is kept of more scores than there is room for, and everything else is still told.
    @Test func tooManyScoresAreNotRanked() throws {
        let set = try #require(try Reference.read().classification.first { $0.name == "ten classes" })
        let whole = Self.measured(set)
        var cut = Self.measured(set, mostScores: set.probabilities.count - 1)
        #expect(Self.measured(set, mostScores: set.probabilities.count) == whole)
        #expect(cut.rocAUC == nil && cut.classes.allSatisfy { $0.rocAUC == nil })
        cut.rocAUC = whole.rocAUC
        for index in cut.classes.indices { cut.classes[index].rocAUC = whole.classes[index].rocAUC }
        #expect(cut == whole)
    }

    /// The points of a plot are few, and from beginning to end.
    @Test func aPlotHasFewPoints() {
        for count in [1, 399, 400, 401, 5000] {
            var counter = RegressionCounter(outputs: 6, examples: count)
            for row in 0..<count {
                counter.add(
                    targets: [Float](repeating: Float(row), count: 6), predicted: [Float](repeating: 0.5, count: 6))
            }
            let outputs = counter.metrics().outputs
            let points = outputs[0].points
            #expect(points.count <= RegressionCounter.mostPoints && points.count >= min(count, 200))
            #expect(points.first?.target == 0 && Int(points.last!.target) >= count - count / 100 - 1)
            #expect(outputs.filter { !$0.points.isEmpty }.count == RegressionCounter.mostPlots)
        }
    }

    /// What an evaluator says is what its probabilities say, for every size of batches and number of threads.
    @Test(arguments: ["cnn", "mlp"])
    func anEvaluatorMeasures(_ name: String) throws {
        let model = try BitExactnessTests.model(name)
        var random = RandomSource("metrics")
        let examples = try random.examples(model, count: 70).subset(Array(3..<60))
        let weights = Initializer.weights(for: model, seed: 4)
        let evaluation = try evaluate(weights: weights, examples: examples, metrics: true)
        let metrics = try #require(evaluation.metrics?.classification)
        #expect(metrics.accuracy == evaluation.accuracy)
        #expect(abs(metrics.logLoss - evaluation.loss) < 1e-5)
        #expect(metrics.classes.map(\.support) == evaluation.confusion.map { $0.reduce(0, +) })
        for (threads, batch) in [(1, 1), (2, 7), (3, 57)] {
            let other = try evaluate(
                weights: weights, examples: examples, threads: threads, batchSize: batch, metrics: true)
            #expect(other == evaluation)
        }
        let plain = try evaluate(weights: weights, examples: examples)
        #expect(plain.metrics == nil && plain.confusion == evaluation.confusion && plain.loss == evaluation.loss)
    }

    @Test func anEvaluatorMeasuresNumbers() throws {
        let model = try ModelDescription(
            json: #"{"input":{"shape":[3]},"layers":[{"type":"linear","out_features":2}],"loss":"mse"}"#)
        var random = RandomSource("metrics of numbers")
        let examples = try random.examples(model, count: 50)
        let weights = Initializer.weights(for: model, seed: 4)
        let evaluation = try evaluate(weights: weights, examples: examples, metrics: true)
        let metrics = try #require(evaluation.metrics?.regression)
        #expect(abs(metrics.mse - evaluation.loss) < 1e-5 * evaluation.loss)
        #expect(metrics.outputs.count == 2 && metrics.outputs[0].points.count == 50)
        let predictions = try predict(weights: weights, x: examples.x).floats()
        #expect(
            metrics.outputs[1].points.map(\.predicted)
                == predictions.indices.filter { $0 % 2 == 1 }.map { predictions[$0] })
    }

    /// No confusion matrix that grows with the square of very many classes.
    @Test func manyClassesAreNotConfused() throws {
        let classes = Evaluator.mostConfusedClasses + 1
        let model = try ModelDescription(
            json:
                #"{"input":{"shape":[2]},"layers":[{"type":"linear","out_features":\#(classes)}],"loss":"cross_entropy"}"#
        )
        var random = RandomSource("many classes")
        let examples = try random.examples(model, count: 20)
        let evaluation = try evaluate(
            weights: Initializer.weights(for: model, seed: 1), examples: examples, metrics: true)
        #expect(evaluation.confusion.isEmpty && evaluation.accuracy != nil)
        #expect(evaluation.metrics?.classification?.classes.count == classes)
    }

    @Test func asJSON() throws {
        for set in try Reference.read().classification {
            let metrics = Metrics.classification(Self.measured(set))
            let bytes = try JSONEncoder().encode(metrics)
            #expect(try JSONDecoder().decode(Metrics.self, from: bytes) == metrics)
            let line = String(decoding: try JSONEncoder().encode(metrics.overall), as: UTF8.self)
            #expect(line.contains("\"roc_auc\":") && !line.contains("classes") && !line.lowercased().contains("nan"))
        }
        let numbers = Metrics.regression(
            RegressionMetrics(
                mse: 0.25, rmse: 0.5, mae: 0.5, r2: nil,
                outputs: [
                    OutputMetrics(mse: 0.25, rmse: 0.5, mae: 0.5, r2: nil, points: [.init(target: 1, predicted: 1.5)])
                ]))
        let bytes = try JSONEncoder().encode(numbers)
        #expect(String(decoding: bytes, as: UTF8.self).contains("\"r2\":null"))
        #expect(try JSONDecoder().decode(Metrics.self, from: bytes) == numbers)
    }
}
