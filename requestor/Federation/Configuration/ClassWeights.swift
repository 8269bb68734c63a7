import NeuralNetwork
import Tensors

/// How much the examples of each class count in the loss.
public enum ClassWeights: Sendable, Equatable {
    /// examples / (classes that occur · examples of the class), as scikit-learn's class_weight="balanced": every class that
    /// occurs counts the same in sum. A class without training examples has the weight 1.
    case balanced
    /// A number for each class.
    case given([Double])

    /// The numbers.
    /// - Parameter labels: class ids of the training set.
    func numbers(classes: Int, labels: [Int]) -> [Double] {
        switch self {
        case .given(let numbers): return numbers
        case .balanced:
            var counts = [Int](repeating: 0, count: classes)
            for label in labels { counts[label] += 1 }
            let seen = counts.filter { $0 > 0 }.count
            return counts.map { $0 == 0 ? 1 : Double(labels.count) / (Double(seen) * Double($0)) }
        }
    }
}

/// `balanced`, or a list of numbers.
extension ClassWeights: Codable {
    public init(from decoder: any Decoder) throws {
        if let numbers = try? [Double](from: decoder) {
            self = .given(numbers)
            return
        }
        let text = try decoder.singleValueContainer().decode(String.self)
        guard text == "balanced" else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "neither balanced nor a list of numbers"))
        }
        self = .balanced
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .balanced:
            var container = encoder.singleValueContainer()
            try container.encode("balanced")
        case .given(let numbers): try numbers.encode(to: encoder)
        }
    }
}
