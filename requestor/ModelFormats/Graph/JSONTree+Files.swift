import Foundation
import NeuralNetwork
import Tensors

extension JSONTree {
    /// Reads the text of a file. Throws `malformed` and `tooLarge`.
    init(parsing text: ArraySlice<UInt8>, of subject: String) throws(DeMLError) {
        guard text.count <= 64 << 20 else {
            throw DeMLError(.tooLarge, "\(subject) has \(text.count) bytes, more than 64 MB")
        }
        do {
            self = try JSONDecoder().decode(JSONTree.self, from: Data(text))
        } catch let error as DeMLError {
            throw error
        } catch {
            throw DeMLError(.malformed, "\(subject) is no JSON")
        }
    }

    /// A list of whole numbers.
    var ints: [Int]? {
        guard let list else { return nil }
        let numbers = list.compactMap(\.int)
        return numbers.count == list.count ? numbers : nil
    }

    static func ints(_ values: [Int]) -> JSONTree { .list(values.map(JSONTree.integer)) }

    /// Height and width as a description writes them.
    static func size(_ values: [Int]) -> JSONTree {
        Set(values).count == 1 ? .integer(values[0]) : .ints(values)
    }
}
