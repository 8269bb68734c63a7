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
        #expect(try Evaluator(model: model).batchCapacity == 256)
        #expect(try Evaluator(model: model, examples: 1000).batchCapacity == 256)
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
}
