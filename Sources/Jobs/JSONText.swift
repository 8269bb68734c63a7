import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A value as one line of JSON, keys sorted.
public func jsonText(_ value: some Encodable) throws(DeMLError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    } catch {
        throw DeMLError(.internal, "a result cannot be written as JSON", cause: error)
    }
}
