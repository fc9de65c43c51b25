// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {RoundResult} from "./interfaces/IRoundLedger.sol";

/// @title The one definition of a result's digest, shared by ledger and vault
library RoundResults {
    bytes32 internal constant TYPE_HASH = keccak256(
        "RoundResult(uint64 round,uint8 kind,uint8 outcome,bytes32 previous,bytes32 config,uint256 dealers,"
        "bytes32 model,bytes32 deals,bytes32 scores,bytes32 rewards,uint128 rewardsTotal)"
    );

    /// @notice EIP-712 struct hash of `result`.
    /// @dev Every field is a static word, so the struct's ABI encoding is the concatenation that EIP-712 asks for.
    function hash(RoundResult calldata result) internal pure returns (bytes32) {
        return keccak256(abi.encode(TYPE_HASH, result));
    }
}
