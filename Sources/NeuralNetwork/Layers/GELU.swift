import CKernels
import Tensors

/// x·Φ(x), Φ being the normal distribution function (torch's `approximate="none"`); with `tanh`
/// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))). Hendrycks and Gimpel, "Gaussian error linear units", 2016 (arXiv 1606.08415).
struct GELU: ActivationLayer {
    static let type = "gelu"
    static let options = ["approximate"]

    var approximation = Approximation.none

    /// torch's `approximate`.
    enum Approximation: String, CaseIterable, Encodable {
        case none, tanh
    }

    var function: deml_activation { approximation == .none ? DEML_GELU : DEML_GELU_TANH }
}

extension GELU {
    init(_ options: StrictContainer) throws {
        guard let word = try options.optional("approximate", String.self) else { return }
        guard let known = Approximation(rawValue: word) else {
            throw options.error(.outOfRange, "approximate \(word.quotedForMessage) is neither 'none' nor 'tanh'")
        }
        approximation = known
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("approximate", approximation, unless: Approximation.none)
    }
}

extension Layer {
    /// x·Φ(x), Φ being the normal distribution function.
    public static var gelu: Layer { Layer(GELU()) }
    /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))): gelu with torch's `approximate="tanh"`.
    public static var geluTanh: Layer { Layer(GELU(approximation: .tanh)) }
}
