//===- MoEOps.td - all ops of the dialect ------------------*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEOPS_TD
#define MOE_DIALECTS_MOE_MOEOPS_TD

include "dialects/MoE/MoEAttention.td"
include "dialects/MoE/MoECapacity.td"
include "dialects/MoE/MoEExperts.td"
include "dialects/MoE/MoEPool.td"
include "dialects/MoE/MoENorm.td"
include "dialects/MoE/MoERoute.td"
include "dialects/MoE/MoESchedule.td"
include "dialects/MoE/MoETokens.td"

#endif // MOE_DIALECTS_MOE_MOEOPS_TD
