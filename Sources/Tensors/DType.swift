/// Element types of tensors, named as safetensors names them.
public enum DType: String, Sendable, Codable, CaseIterable {
    case bool = "BOOL"
    case u8 = "U8"
    case i8 = "I8"
    case i16 = "I16"
    case f16 = "F16"
    case bf16 = "BF16"
    case i32 = "I32"
    case f32 = "F32"
    case f64 = "F64"
    case i64 = "I64"

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .bool, .u8, .i8: 1
        case .i16, .f16, .bf16: 2
        case .i32, .f32: 4
        case .f64, .i64: 8
        }
    }

    public var isFloatingPoint: Bool {
        switch self {
        case .f16, .bf16, .f32, .f64: true
        default: false
        }
    }

    public var isInteger: Bool {
        switch self {
        case .u8, .i8, .i16, .i32, .i64: true
        default: false
        }
    }

    /// The place in the order in which the reference implementation lays tensors out: larger alignment later, so that
    /// a file sorted from the highest rank to the lowest keeps every tensor aligned.
    var rank: Int {
        Self.allCases.firstIndex(of: self) ?? 0
    }
}
