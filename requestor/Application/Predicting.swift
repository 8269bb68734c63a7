import Datasets
import NeuralNetwork
import Tensors

/// The use of a model on new examples.
public struct PredictRequest: Sendable {
    /// A weights file, or a run folder (its best model).
    public var model: String
    /// With labels or without: a dataset (its test set), one IDX file of images, .npz, safetensors, CSV, or a picture.
    public var data: DataRequest
    /// Nil: the test set, where there is one; else all.
    public var part: DatasetPart?
    /// How many examples; 0: all.
    public var count: Int
    /// The first example, counted from 0.
    public var start: Int
    /// Where predictions are written: .csv, .npz, .jsonl, else safetensors (.gz compressed).
    public var output: String?
    public var writing = PredictionWriting()
    /// A picture has dark ink on light paper.
    public var invert: Bool
    /// Whether a drawn digit is brought to the size and place that MNIST's have; nil: where the model knows digits.
    public var centers: Bool?
    /// The picture itself, instead of a file.
    public var picture: [UInt8]?
    /// A text itself, instead of a file.
    public var text: TypedText?
    public var threads: Int?

    public init(
        model: String, data: DataRequest = DataRequest(), part: DatasetPart? = nil, count: Int = 10, start: Int = 0,
        output: String? = nil, invert: Bool = false, threads: Int? = nil, centers: Bool? = nil,
        picture: [UInt8]? = nil
    ) {
        self.centers = centers
        self.picture = picture
        self.model = model
        self.data = data
        self.part = part
        self.count = count
        self.start = start
        self.output = output
        self.invert = invert
        self.threads = threads
    }
}

/// What a model says of one example.
public struct Prediction: Sendable, Encodable {
    /// The row of the file, counted from 0.
    public var example: Int
    /// Name of the most likely class and its probability; absent for a regression.
    public var predicted: String?
    public var probability: Double?
    /// The label, where the example has one.
    public var truth: String?
    public var outputs: [Double]
}

public struct PredictAnswer: Sendable {
    public var predictions: [Prediction]
    /// Grey images of the examples, where the model takes such.
    public var pictures: Pictures?
    /// What a person is to know of how the data was taken.
    public var notes: [Decision]
    /// Examples there are.
    public var available: Int
    let classNames: [String]?

    public func name(ofClass index: Int) -> String {
        classNames.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? "\(index)"
    }
}

extension Application {
    /// Classes and their probabilities for new examples, or numbers.
    public func predict(_ request: PredictRequest) throws -> PredictAnswer {
        let model = try ModelArgument(request.model, paths)
        let inputs = try PredictionInputs(request, model, paths)
        let chosen = try inputs.chosen(request, paths)
        let x = inputs.x.rows(chosen)
        let predictions = try NeuralNetwork.predict(
            weights: model.weights, x: x, threads: try Threads.checked(request.threads))
        let table = inputs.table(chosen, try predictions.floats(), model)
        var answer = PredictAnswer(table, notes: inputs.notes, available: inputs.x.shape[0])
        answer.predictions = (0..<table.count).map { table.prediction($0) }
        answer.pictures = try Pictures(x, shape: model.weights.model.inputShape)
        if let output = request.output { try table.write(to: paths.resolved(output), as: request.writing) }
        return answer
    }
}

extension PredictAnswer {
    init(_ table: PredictionTable, notes: [Decision], available: Int) {
        self.init(predictions: [], notes: notes, available: available, classNames: table.schema.classNames)
    }
}

/// Examples as grey pictures between 0 and 1; colour is averaged.
public struct Pictures: Sendable {
    public struct Frame: Sendable {
        /// `[height][width]`
        public var values: [Float]
        public var height: Int
        public var width: Int
    }

    private let values: [Float]
    private let channels: Int
    private let height: Int
    private let width: Int
    private let lowest: Float
    private let highest: Float

    /// - Returns: nil where the examples `[N, …shape]` are no small pictures.
    init?(_ x: Tensor, shape: [Int]) throws {
        guard shape.count == 3, shape[0] == 1 || shape[0] == 3, shape[1] <= 64, shape[2] <= 64 else { return nil }
        values = try x.floats()
        (channels, height, width) = (shape[0], shape[1], shape[2])
        lowest = min(0, values.min() ?? 0)
        highest = max(values.max() ?? 1, lowest + 1e-6)
    }

    public func frame(_ index: Int) -> Frame {
        let size = height * width
        let grey = (0..<size).map { pixel -> Float in
            let sum = (0..<channels).reduce(Float(0)) { $0 + values[(index * channels + $1) * size + pixel] }
            return (sum / Float(channels) - lowest) / (highest - lowest)
        }
        return Frame(values: grey, height: height, width: width)
    }
}
