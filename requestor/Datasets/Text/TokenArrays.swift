import Tensors

/// Ids of tokens in arrays: as they are, not as measurements.
enum TokenArrays {
    /// A part by a schema whose features are tokens: labels one an example, or one a token.
    static func part(
        _ x: SourceArray, _ y: SourceArray?, _ target: Schema.Target, _ options: DatasetOptions
    ) throws(DeMLError) -> DatasetParts.Part {
        let ids = try tensor(x, "x")
        var labels: Tensor?
        if let y {
            labels = try perToken(y, like: ids)
            if labels == nil {
                labels = try DatasetSource.attempt("y") { (_) throws(DeMLError) in
                    try ArrayLabels.values(y, target, options)
                }
            }
        }
        return DatasetParts.Part(x: ids, y: labels, rows: Array(0..<(ids.shape.first ?? 0)))
    }

    /// Decides what arrays are that a model of so many tokens is to learn from.
    static func reading(
        train: (x: SourceArray, y: SourceArray), test: (x: SourceArray, y: SourceArray)?, tokens: Int,
        _ options: DatasetOptions
    ) throws(DeMLError) -> ArrayReading {
        let x = try tensor(train.x, "x")
        guard x.shape.count == 2, tokens <= Dataset.maximumClasses else {
            throw DeMLError(.shape, "tokens have the shape [N, length], but it is \(x.shape)", place: "x")
        }
        let features = Schema.Features.tokens(length: x.shape[1], vocabulary: (0..<tokens).map(String.init))
        if let y = try perToken(train.y, like: x) {
            let schema = Schema(features: features, target: .classes((0..<tokens).map(String.init), column: nil))
            var reading = ArrayReading(schema: schema, train: Dataset.Part(x: x, y: y))
            reading.decisions = [Decision("label", "one for each token")]
            if let test {
                let testX = try tensor(test.x, "x of the test set")
                guard let testY = try perToken(test.y, like: testX) else {
                    throw DeMLError(.shape, "the labels of the test set are not one for each token")
                }
                reading.test = Dataset.Part(x: testX, y: testY)
            }
            return reading
        }
        let labels = try DatasetSource.attempt("y") { (_) throws(DeMLError) in try ArrayLabels(train.y, options) }
        var reading = ArrayReading(
            schema: Schema(features: features, target: labels.target), train: Dataset.Part(x: x, y: labels.y))
        reading.classNames = labels.hasNames ? labels.target.names : nil
        reading.decisions = labels.decisions
        if let test {
            reading.test = Dataset.Part(
                x: try tensor(test.x, "x of the test set"), y: try ArrayLabels.values(test.y, labels.target, options))
        }
        return reading
    }

    /// Integers as U8 or I32.
    private static func tensor(_ array: SourceArray, _ place: String) throws(DeMLError) -> Tensor {
        guard case .numbers(let tensor) = array, tensor.dtype.isInteger else {
            throw DeMLError(.dtype, "tokens are whole numbers", place: place)
        }
        if tensor.dtype == .u8 || tensor.dtype == .i32 { return tensor }
        var ids: [Int32] = []
        for id in try tensor.integers() {
            guard let id = Int32(exactly: id) else {
                throw DeMLError(.outOfRange, "the token \(id) is out of range", place: place)
            }
            ids.append(id)
        }
        return Tensor(shape: tensor.shape, int32s: ids)
    }

    /// Labels in the shape of the tokens; nil where they are not one for each.
    private static func perToken(_ y: SourceArray, like x: Tensor) throws(DeMLError) -> Tensor? {
        guard case .numbers(let tensor) = y, tensor.dtype.isInteger, tensor.shape == x.shape, x.shape.count == 2,
            x.shape[1] > 1
        else { return nil }
        return try self.tensor(y, "y")
    }
}
