import Foundation
import NeuralNetwork
import Tensors
import Testing

@Suite struct EvaluatorTests {
    /// No memory is taken for examples that will not come, and more than were told of are no harm.
    @Test func memoryIsForTheExamplesThereAre() throws {
        let model = try BitExactnessTests.model("cnn")
        var random = RandomSource("evaluator")
        let examples = try random.examples(model, count: 20)
        let weights = Initializer.weights(for: model, seed: 1)
        #expect(try Evaluator(model: model, batchSize: 256).batchCapacity == 256)
        #expect(try Evaluator(model: model, batchSize: 256, examples: 1000).batchCapacity == 256)
        #expect(try Evaluator(model: model, examples: 0).batchCapacity == 1)
        let small = try Evaluator(model: model, examples: 3)
        #expect(small.batchCapacity == 3)
        #expect(try small.evaluate(weights, examples) == Evaluator(model: model).evaluate(weights, examples))
    }

    /// Outputs of bce_with_logits are yes or no each: answers and measures are of their probabilities, and a target is no
    /// number but a probability.
    @Test func outputsOfBinaryCrossEntropyAreProbabilities() throws {
        let model = try ModelDescription(
            input: .init(shape: [1]), layers: [.linear(outFeatures: 2)], loss: .binaryCrossEntropy)
        let weights = try Weights(model: model, parameters: [1, -2, 0.5, 0])
        let x = Tensor(shape: [3, 1], floats: [0, 1, -2])
        let examples = try Examples(x: x, y: Tensor(shape: [3, 2], int64s: [1, 0, 1, 1, 0, 0]), for: model)
        let logits: [Double] = [0.5, 0, 1.5, -2, -1.5, 4]
        let expected = logits.map { Float(1 / (1 + exp(-$0))) }
        let predictions = try Evaluator(model: model).predict(weights, examples).floats()
        #expect(relativeError(predictions, expected) < 1e-6)
        let evaluation = try Evaluator(model: model).evaluate(weights, examples, metrics: true)
        #expect(evaluation.accuracy == nil && evaluation.confusion.isEmpty)
        let targets: [Double] = [1, 0, 1, 1, 0, 0]
        let loss = zip(logits, targets).reduce(0) { $0 + log(1 + exp($1.0)) - $1.0 * $1.1 } / 6
        #expect(abs(evaluation.loss - loss) < 1e-6)
        let square = zip(expected, targets).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) } / 6
        #expect(abs(try #require(evaluation.metrics?.regression).mse - square) < 1e-6)
        let error = #expect(throws: DeMLError.self) {
            try Examples(x: x, y: Tensor(shape: [3, 2], floats: [0, 1, 0.5, 1.5, 0, 0]), for: model)
        }
        #expect(error?.code == .outOfRange && error?.summary.contains("element 3 is 1.5") == true)
    }

    /// A large layer runs a few examples at a time, so that they stay in the caches; a small one many.
    @Test func batchesFitTheCaches() throws {
        let large = try ModelDescription(
            input: .init(shape: [1, 64, 64]),
            layers: [.conv2d(outChannels: 64, kernelSize: 3), .flatten, .linear(outFeatures: 2)],
            loss: .crossEntropy)
        let small = try ModelDescription(
            input: .init(shape: [4]), layers: [.linear(outFeatures: 2)], loss: .crossEntropy)
        #expect(try Evaluator(model: large).batchCapacity == 16)
        #expect(try Evaluator(model: large, threads: 8).batchCapacity >= 32)
        #expect(try Evaluator(model: small).batchCapacity == 256)
    }

    /// A row's answer is the same whatever rows run with it: what lets a stranger's rows be looked at one by one. And no
    /// figure depends on how many run together.
    @Test(arguments: ["mlp", "cnn"]) func rowsDoNotDependOnTheirCompany(name: String) throws {
        let model = try BitExactnessTests.model(name)
        var random = RandomSource("company")
        let examples = try random.examples(model, count: 300)
        let weights = Initializer.weights(for: model, seed: 2)
        let whole = try Evaluator(model: model, batchSize: 256).predict(weights, examples)
        let evaluation = try Evaluator(model: model, batchSize: 256).evaluate(weights, examples, metrics: true)
        for batch in [1, 7, 100, 300] {
            let evaluator = try Evaluator(model: model, threads: 2, batchSize: batch)
            #expect(try evaluator.predict(weights, examples) == whole, "batches of \(batch)")
            #expect(try evaluator.evaluate(weights, examples, metrics: true) == evaluation, "batches of \(batch)")
        }
        let rows = [0, 3, 255, 256, 299]
        let some = try Evaluator(model: model, batchSize: 2).predict(weights, examples.subset(rows))
        #expect(some == whole.gatherRows(rows))
    }

    /// Outputs that were computed elsewhere are measured as if they had been computed here.
    @Test(arguments: [ModelDescription.Loss.crossEntropy, .meanSquaredError, .binaryCrossEntropy])
    func outputsOfElsewhere(loss: ModelDescription.Loss) throws {
        let model = try ModelDescription(input: .init(shape: [5]), layers: [.linear(outFeatures: 4)], loss: loss)
        var random = RandomSource("elsewhere")
        let x = Tensor(shape: [70, 5], floats: random.normals(350))
        let y =
            loss == .crossEntropy
            ? Tensor(shape: [70], bytes: (0..<70).map { UInt8($0 * 7 % 4) })
            : Tensor(shape: [70, 4], floats: (0..<280).map { Float($0 % 2) })
        let examples = try Examples(x: x, y: y, for: model)
        let weights = Initializer.weights(for: model, seed: 3)
        let here = try Evaluator(model: model).evaluate(weights, examples, metrics: true)
        let outputs = try Evaluator(model: model, threads: 2).predict(weights, examples, bare: true).floats()
        let there = try Evaluator(model: model, batchSize: 9).evaluate(outputs: outputs, examples, metrics: true)
        #expect(here == there)
        let error = #expect(throws: DeMLError.self) {
            try Evaluator(model: model).evaluate(outputs: Array(outputs.dropLast()), examples)
        }
        #expect(error?.code == .shape)
    }
}
