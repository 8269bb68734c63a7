import Tensors

/// By what a dataset is known again, and what is said when it has changed.
public struct DataFingerprint: Sendable, Codable, Equatable {
    /// ``Dataset/contentSHA256()``
    public var sha256: String
    /// Examples of the training and of the test set.
    public var train: Int
    public var test: Int
    /// Digests of stretches of the training set, so that a change is found.
    public var stretches: [String]

    static let stretchCount = 32

    public init(_ dataset: Dataset) {
        sha256 = dataset.contentSHA256()
        train = dataset.train.count
        test = dataset.test?.count ?? 0
        let part = dataset.train
        stretches = (0..<min(Self.stretchCount, part.count)).map { index in
            let range = Self.range(index, of: part.count)
            return String(Dataset.contentSHA256([part.x.rows(range), part.y.rows(range)]).prefix(16))
        }
    }

    private static func range(_ index: Int, of count: Int) -> Range<Int> {
        let stretches = min(stretchCount, count)
        return count * index / stretches..<count * (index + 1) / stretches
    }

    /// What is different in a dataset of the same schema, in words; nil where nothing is.
    public func difference(to now: DataFingerprint) -> String? {
        guard sha256 != now.sha256 else { return nil }
        guard train + test == now.train + now.test else {
            return "it had \(train + test) examples and has \(now.train + now.test) now"
        }
        guard train == now.train else {
            return "its training set had \(train) examples and has \(now.train) now"
        }
        guard
            let index = zip(stretches, now.stretches).enumerated().first(where: { $0.element.0 != $0.element.1 })?
                .offset
        else { return "its test set is another one" }
        let range = Self.range(index, of: train)
        return "values are others in the examples \(range.lowerBound) to \(range.upperBound - 1) of the training set"
    }
}
