import NeuralNetwork
import Tensors

/// What a worker has predicted for a shard, read as what comes from a stranger.
public struct Predictions: Sendable, Equatable {
    /// `[examples, outputs]`, in the order of the shard; of a text the ids of its tokens.
    public var values: [Float]

    /// Reads a predictions file and checks it against the model and the shard: the tensor `predictions` is F32
    /// `[examples, …output shape]` and finite; of a text `[1, tokens]`, ids of classes. What else is in the file is not
    /// looked at. Throws what reading a file throws, `missing`, `dtype`, `shape`, `notFinite` and `outOfRange`.
    public init(
        contentsOf path: String, model: ModelDescription, examples: Int, form: WorkerJob.PredictionForm = .answers
    ) throws(DeMLError) {
        let shape = form.shape(model)
        let file = try Safetensors(
            contentsOf: path, maximumBytes: Self.maximumBytes(of: shape, examples: examples), mapping: true)
        do throws(DeMLError) {
            guard let tensor = file["predictions"] else {
                throw DeMLError(.missing, "the file has no tensor 'predictions'", hint: "is it of deml-worker predict?")
            }
            guard tensor.dtype == .f32 else {
                throw DeMLError(.dtype, "predictions are F32, but it is \(tensor.dtype.rawValue)")
            }
            guard tensor.shape == [examples] + shape else {
                throw DeMLError(
                    .shape, "\([examples] + shape) was asked for, but the predictions are \(tensor.shape)")
            }
            if let index = tensor.firstNonFinite() {
                throw DeMLError(
                    .notFinite, "the prediction of example \(index / tensor.rowCount) is no finite number")
            }
            values = try tensor.floats()
            if case .text = form {
                let classes = Float(model.classes)
                if let odd = values.first(where: { !($0 >= 0 && $0 < classes && $0 == $0.rounded()) }) {
                    throw DeMLError(.outOfRange, "the token \(odd) is not in 0 ..< \(model.classes)")
                }
            }
        } catch {
            throw error.within(path)
        }
    }

    /// An answer holds outputs and a class, and a header: anything larger is refused before it is read. A sum that
    /// leaves the range stays at its end.
    public static func maximumBytes(of shape: [Int], examples: Int) -> Int {
        let outputs = shape.reduce(1) { $0.multipliedReportingOverflow(by: $1).partialValue }
        let (bytes, overflow) = (outputs + 2).multipliedReportingOverflow(by: 4 * examples)
        return overflow || bytes > 1 << 40 ? 1 << 40 : bytes + (4 << 20)
    }
}
