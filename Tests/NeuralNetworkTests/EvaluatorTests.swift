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
}
